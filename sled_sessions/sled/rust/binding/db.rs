//! A database: its trees, its files, its life cycle. It is its own default tree, so it inherits a tree's methods.

use std::{path::PathBuf, sync::Arc};

use pyo3::{exceptions::PyBaseException, prelude::*, types::PyTuple};
use sled::IVec;

use crate::{
    binding::{
        bytes::{Buffer, Bytes, TreeName},
        iter::Iter,
        tree::Tree,
    },
    error::{Error, Result},
    runtime::{
        CHUNK_BYTES, DEFAULT_TREE,
        engine::{Engine, TreeHandle},
        guard::{self, OnDrop},
    },
};

/// The only type of collection in sled's exports.
const TREE: &[u8] = b"tree";

/// A collection's type, its name, its pairs.
type Exported = (Bytes, Bytes, Iter);

/// How many pairs `import_` writes before it checks for signals such as Ctrl-C.
const IMPORT_CHUNK: usize = 512;

#[doc = doc!("Db")]
#[pyclass(extends = Tree, frozen, weakref, module = "sled_sessions.sled")]
pub struct Db {
    engine: Arc<Engine>,
    was_recovered: bool,
}

impl Db {
    pub fn new(engine: Arc<Engine>, was_recovered: bool) -> Self {
        Db { engine, was_recovered }
    }

    fn call<T: Send>(&self, py: Python<'_>, work: impl FnOnce(&sled::Db) -> Result<T> + Send) -> Result<T> {
        guard::call(py, || self.engine.with(work))
    }

    fn sorted_names(&self, py: Python<'_>) -> Result<Vec<IVec>> {
        let mut names = self.call(py, |db| Ok(db.tree_names()))?;
        names.sort_unstable();
        Ok(names)
    }

    fn handle(&self, py: Python<'_>, name: &[u8]) -> Result<Arc<TreeHandle>> {
        // sled would open the default tree a second time, with separate watchers.
        let open = |db: &sled::Db| if name == DEFAULT_TREE { Ok((**db).clone()) } else { db.open_tree(name) };
        self.call(py, |db| Ok(self.engine.handle(open(db)?)))
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        let engine = self.engine.clone();
        guard::release(OnDrop(move || engine.close_unattended()));
    }
}

#[pymethods]
impl Db {
    #[doc = doc!("Db.path")]
    #[getter]
    fn path(&self) -> PathBuf {
        self.engine.path().to_owned()
    }

    #[doc = doc!("Db.was_recovered")]
    #[getter]
    fn was_recovered(&self) -> bool {
        self.was_recovered
    }

    #[doc = doc!("Db.failure")]
    #[getter]
    fn failure<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBaseException>> {
        let failure = self.engine.health().failure()?;
        Some(PyErr::from(Error::Failed(failure)).into_value(py).into_bound(py))
    }

    #[doc = doc!("Db.open_tree")]
    fn open_tree(slf: &Bound<'_, Self>, name: TreeName) -> Result<Tree> {
        let handle = slf.get().handle(slf.py(), &name.0)?;
        Ok(Tree::new(handle, Some(slf.clone().into_any().unbind())))
    }

    #[doc = doc!("Db.tree_names")]
    fn tree_names(&self, py: Python<'_>) -> Result<Vec<Bytes>> {
        Ok(self.sorted_names(py)?.into_iter().map(Bytes).collect())
    }

    #[doc = doc!("Db.drop_tree")]
    fn drop_tree(&self, py: Python<'_>, name: TreeName) -> Result<bool> {
        guard::call(py, || self.engine.drop_tree(&name.0))
    }

    #[doc = doc!("Db.size_on_disk")]
    fn size_on_disk(&self, py: Python<'_>) -> Result<u64> {
        self.call(py, |db| Ok(db.size_on_disk()?))
    }

    #[doc = doc!("Db.blob_sizes")]
    fn blob_sizes(&self, py: Python<'_>) -> Result<(u64, u64)> {
        guard::call(py, || self.engine.blob_sizes())
    }

    #[doc = doc!("Db.generate_id")]
    fn generate_id(&self, py: Python<'_>) -> Result<u64> {
        guard::call(py, || self.engine.write(|db| self.engine.ids.next(|| Ok(db.generate_id()?))))
    }

    #[doc = doc!("Db.checksum")]
    fn checksum(&self, py: Python<'_>) -> Result<u32> {
        let engine = self.engine.clone();
        guard::call(py, || guard::call_interruptibly(move || engine.with(|db| Ok(db.checksum()?))))
    }

    #[doc = doc!("Db.export")]
    fn export(slf: &Bound<'_, Self>) -> Result<Vec<Exported>> {
        let py = slf.py();
        let export = |name: IVec| {
            let handle = slf.get().handle(py, &name)?;
            let tree = Py::new(py, Tree::new(handle, Some(slf.clone().into_any().unbind())))?;
            Ok((Bytes(TREE.into()), Bytes(name), Tree::__iter__(tree)))
        };
        slf.get().sorted_names(py)?.into_iter().map(export).collect()
    }

    #[doc = doc!("Db.import_")]
    fn import_(&self, py: Python<'_>, export: &Bound<'_, PyAny>) -> Result<()> {
        for collection in export.try_iter()? {
            let [kind, name, items]: [Bound<'_, PyAny>; 3] = collection?.extract()?;
            if kind.extract::<Buffer<'_, '_>>()?.as_slice() != TREE {
                return Err(Error::Misuse("only collections of type b'tree' can be imported".into()));
            }
            let handle = self.handle(py, &name.extract::<TreeName>()?.0)?;
            let mut items = items.try_iter()?;
            loop {
                let (mut chunk, mut bytes) = (Vec::new(), 0);
                for item in items.by_ref() {
                    let (key, value) = extract_pair(&item?)?;
                    bytes += key.len() + value.len();
                    chunk.push((key, value));
                    if chunk.len() == IMPORT_CHUNK || bytes > CHUNK_BYTES {
                        break;
                    }
                }
                if chunk.is_empty() {
                    break;
                }
                guard::call(py, || handle.write(|tree| insert_new(tree, chunk)))?;
                py.check_signals()?;
            }
        }
        Ok(())
    }

    #[doc = doc!("Db.close")]
    fn close(&self, py: Python<'_>) -> Result<()> {
        guard::call(py, || self.engine.close())
    }

    fn __enter__(slf: Bound<'_, Self>) -> Result<Bound<'_, Self>> {
        slf.get().call(slf.py(), |_| Ok(()))?;
        Ok(slf)
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) -> Result<()> {
        self.close(py)
    }

    fn __repr__(&self) -> String {
        let state = if self.engine.check_open().is_ok() { "" } else { " (closed)" };
        format!("<sled.Db {}{state}>", self.engine.path().display())
    }
}

fn extract_pair(item: &Bound<'_, PyAny>) -> Result<(IVec, IVec)> {
    let [key, value]: [Bound<'_, PyAny>; 2] = item.extract()?;
    Ok((key.extract::<Buffer<'_, '_>>()?.to_ivec(), value.extract::<Buffer<'_, '_>>()?.to_ivec()))
}

/// Insert pairs whose keys do not exist yet. sled's own import overwrites the existing value and then panics.
fn insert_new(tree: &sled::Tree, pairs: Vec<(IVec, IVec)>) -> Result<()> {
    for (key, value) in pairs {
        if tree.compare_and_swap(key, None::<&[u8]>, Some(value))?.is_err() {
            return Err(Error::import_conflict(&format!("tree {:?}", String::from_utf8_lossy(&tree.name()))));
        }
    }
    Ok(())
}
