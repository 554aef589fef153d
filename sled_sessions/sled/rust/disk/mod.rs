//! The files of sled 0.34, read without sled: to check them before sled opens them, and to salvage them.

pub mod blobs;
pub mod check;
pub mod conf;
pub mod creation;
pub mod end;
pub mod files;
pub mod log;
pub mod page;
pub mod private;
pub mod regular;
pub mod salvage;
pub mod snapshot;
pub mod snapshots;

use std::path::Path;

use crate::error::Error;

/// The error for a database of sled 0.34 that is damaged.
pub fn damaged(folder: &Path, what: &str) -> Error {
    Error::Damaged(format!("{} is damaged: {what}. Restore a backup, or salvage what can be read", folder.display()))
}
