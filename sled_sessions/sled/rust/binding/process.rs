//! Hooks for the end of the interpreter and for forks, and the state of the calling thread.

use std::path::PathBuf;

use pyo3::prelude::*;

use crate::runtime::{closing, fork, guard};

#[doc = doc!("close_all")]
#[pyfunction]
pub fn close_all(py: Python<'_>) {
    if fork::check_process().and(guard::check()).is_ok() {
        py.detach(closing::close_all);
    }
}

#[doc = doc!("in_transaction")]
#[pyfunction]
pub fn in_transaction() -> bool {
    guard::in_transaction()
}

#[doc = doc!("after_fork_in_child")]
#[pyfunction]
pub fn after_fork_in_child() -> Vec<PathBuf> {
    fork::enter_child()
}
