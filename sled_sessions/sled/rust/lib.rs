//! Python binding of the embedded database sled 0.34.
//!
//! One module for each concept; what a Python user reads stands in `_native.pyi`.

/// The docstring that `_native.pyi` has for this name; `build.rs` takes it from there.
macro_rules! doc {
    ($name:literal) => {
        include_str!(concat!(env!("OUT_DIR"), "/", $name))
    };
}

mod allocator;
mod batch;
mod blobs;
mod buffer;
mod conf;
mod config;
mod creation;
mod db;
mod engine;
mod error;
mod files;
mod guard;
mod iter;
mod locks;
mod log;
mod reverse;
mod salvage;
mod transaction;
mod tree;
mod v1;
mod v1_log;
mod watch;

use pyo3::prelude::*;

#[pymodule]
mod _native {
    #[pymodule_export]
    use super::{
        batch::Batch,
        config::open,
        db::Db,
        engine::close_all,
        guard::after_fork_in_child,
        iter::Iter,
        salvage::Salvage,
        transaction::{TransactionTree, transaction},
        tree::Tree,
        v1::{V1, open_v1},
        watch::{Event, Subscriber},
    };

    #[pymodule_init]
    fn init() {
        super::guard::quiet_caught_panics();
    }
}
