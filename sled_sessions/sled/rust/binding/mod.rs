//! What Python sees, one module for each concept.

pub mod batch;
pub mod bytes;
pub mod db;
mod error;
pub mod iter;
pub mod open;
pub mod process;
pub mod salvage;
pub mod transaction;
pub mod tree;
pub mod v1;
pub mod watch;
