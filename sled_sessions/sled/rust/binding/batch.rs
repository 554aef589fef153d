//! Writes that are applied together.

use std::sync::Mutex;

use pyo3::prelude::*;

use crate::{binding::bytes::Buffer, runtime::locks::lock};

#[doc = doc!("Batch")]
#[pyclass(frozen, module = "sled_sessions.sled")]
#[derive(Default)]
pub struct Batch(Mutex<sled::Batch>);

impl Batch {
    /// A copy of the current writes; the batch itself can be extended and applied again.
    pub fn snapshot(&self) -> sled::Batch {
        lock(&self.0).clone()
    }
}

#[pymethods]
impl Batch {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    #[doc = doc!("Batch.insert")]
    fn insert(&self, key: Buffer<'_, '_>, value: Buffer<'_, '_>) {
        lock(&self.0).insert(key.as_slice(), value.as_slice());
    }

    #[doc = doc!("Batch.remove")]
    fn remove(&self, key: Buffer<'_, '_>) {
        lock(&self.0).remove(key.as_slice());
    }
}
