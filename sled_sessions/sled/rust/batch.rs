//! Writes that are applied together.

use std::sync::{Mutex, MutexGuard};

use pyo3::prelude::*;

use crate::{buffer::Data, locks::lock};

#[doc = doc!("Batch")]
#[pyclass(frozen, module = "sled_sessions.sled")]
#[derive(Default)]
pub struct Batch(Mutex<sled::Batch>);

impl Batch {
    /// What is in the batch now; the batch itself can be filled further and applied again.
    pub fn snapshot(&self) -> sled::Batch {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, sled::Batch> {
        lock(&self.0)
    }
}

#[pymethods]
impl Batch {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    #[doc = doc!("Batch.insert")]
    fn insert(&self, key: Data<'_, '_>, value: Data<'_, '_>) {
        self.lock().insert(key.as_slice(), value.as_slice());
    }

    #[doc = doc!("Batch.remove")]
    fn remove(&self, key: Data<'_, '_>) {
        self.lock().remove(key.as_slice());
    }
}
