//! Python binding of the embedded database sled 0.34.
//!
//! `binding` is what Python sees, `runtime` keeps databases open and calls into them safe, `disk` reads sled's files,
//! and `v1` drives sled 1.0. `json` is a helper for the layers above. What a Python user reads is in `_native.pyi`.

/// The docstring that `_native.pyi` has for this name; `build.rs` extracts it.
macro_rules! doc {
    ($name:literal) => {
        include_str!(concat!(env!("OUT_DIR"), "/", $name))
    };
}

mod binding;
mod disk;
mod error;
mod json;
mod runtime;
mod v1;

#[pyo3::pymodule]
mod _native {
    #[pymodule_export]
    use crate::binding::{
        batch::Batch,
        db::Db,
        iter::Iter,
        open::{open, open_databases},
        process::{after_fork_in_child, close_all, in_transaction},
        salvage::Salvage,
        transaction::{TransactionTree, transaction},
        tree::Tree,
        v1::{V1, open_v1},
        watch::{Event, Subscriber},
    };
    #[pymodule_export]
    use crate::json::is_json;

    #[pymodule_init]
    fn init() {
        crate::runtime::guard::silence_caught_panics();
        crate::runtime::step_limit::install();
    }
}
