//! Databases of sled 1.0.

use std::{
    ops::Bound::{Excluded, Unbounded},
    sync::Arc,
};

use pyo3::{prelude::*, types::PyBytes};

use crate::{
    binding::bytes::{Buffer, Folder, PyPair, TreeName, new_pair},
    error::Result,
    runtime::guard,
    v1::database::V1Database,
};

#[doc = doc!("V1")]
#[pyclass(frozen, module = "sled_sessions.sled")]
pub struct V1(Arc<V1Database>);

#[doc = doc!("open_v1")]
#[pyfunction]
pub fn open_v1(py: Python<'_>, path: Folder) -> Result<V1> {
    guard::call(py, || Ok(V1(Arc::new(V1Database::open(&path.0)?))))
}

#[pymethods]
impl V1 {
    #[doc = doc!("V1.tree_names")]
    fn tree_names<'py>(&self, py: Python<'py>) -> Result<Vec<Bound<'py, PyBytes>>> {
        let names = guard::call(py, || self.0.tree_names())?;
        Ok(names.iter().map(|name| PyBytes::new(py, name)).collect())
    }

    #[doc = doc!("V1.read")]
    fn read<'py>(
        &self,
        py: Python<'py>,
        tree: TreeName,
        after: Option<Buffer<'_, '_>>,
        limit: usize,
    ) -> Result<Vec<PyPair<'py>>> {
        let start = after.map_or(Unbounded, |key| Excluded(key.as_slice().to_vec()));
        let pairs = guard::call(py, || self.0.read(tree.0, start, limit))?;
        Ok(pairs.iter().map(|(key, value)| new_pair(py, key, value)).collect())
    }

    #[doc = doc!("V1.insert_new")]
    fn insert_new(
        &self,
        py: Python<'_>,
        tree: TreeName,
        pairs: Vec<(Bound<'_, PyAny>, Bound<'_, PyAny>)>,
    ) -> Result<()> {
        let array = |data: &Bound<'_, PyAny>| -> Result<_> { Ok(data.extract::<Buffer<'_, '_>>()?.as_slice().into()) };
        let pairs = pairs.iter().map(|(key, value)| Ok((array(key)?, array(value)?))).collect::<Result<_>>()?;
        guard::call(py, || self.0.insert_new(tree.0, pairs))
    }

    #[doc = doc!("V1.close")]
    fn close(&self, py: Python<'_>) -> Result<()> {
        guard::call(py, || self.0.close())
    }
}

impl Drop for V1 {
    fn drop(&mut self) {
        if let Some(db) = self.0.take() {
            guard::release(db);
        }
    }
}
