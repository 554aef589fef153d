//! Reading a damaged database page by page.

use std::sync::Mutex;

use pyo3::{prelude::*, types::PyBytes};

use crate::{
    binding::bytes::{Folder, PyPair, new_pair},
    disk::salvage::Salvager,
    error::Result,
    runtime::{guard, locks::lock},
};

/// A tree's name and pairs.
type PyPage<'py> = (Option<Bound<'py, PyBytes>>, Vec<PyPair<'py>>);

#[doc = doc!("Salvage")]
#[pyclass(frozen, module = "sled_sessions.sled")]
pub struct Salvage(Mutex<Salvager>);

#[pymethods]
impl Salvage {
    #[new]
    fn new(py: Python<'_>, path: Folder) -> Result<Self> {
        let open = move || guard::call_interruptibly(move || Salvager::open(path.0));
        Ok(Salvage(Mutex::new(guard::call(py, open)?)))
    }

    #[doc = doc!("Salvage.page")]
    fn page<'py>(&self, py: Python<'py>) -> Result<Option<PyPage<'py>>> {
        let Some((name, pairs)) = guard::call(py, || Ok(lock(&self.0).next_page()))? else { return Ok(None) };
        let pairs = pairs.iter().map(|(key, value)| new_pair(py, key, value)).collect();
        Ok(Some((name.map(|name| PyBytes::new(py, &name)), pairs)))
    }

    #[doc = doc!("Salvage.lost")]
    #[getter]
    fn lost(&self) -> u64 {
        lock(&self.0).lost
    }
}
