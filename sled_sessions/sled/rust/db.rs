//! A database: its trees, its files, its life. It is its own default tree, so it inherits what a tree does.

use std::{path::PathBuf, sync::Arc};

use pyo3::prelude::*;
use sled::IVec;

use crate::{
    buffer::{Blob, CHUNK_BYTES, Data, Name},
    engine::{Engine, Handle},
    error::{Error, Result},
    guard,
    iter::Iter,
    tree::Tree,
};

/// What sled calls the only type of collection that it exports.
const TREE: &[u8] = b"tree";

/// The name of the tree that the database itself is.
pub const DEFAULT_TREE: &[u8] = b"__sled__default";

/// What an import says when a key is there.
pub const NOT_EMPTY: &str = "holds a key of the import already: import into an empty database";

/// The type of a collection, its name, its pairs.
type Exported = (Blob, Blob, Iter);

/// Pairs that `import_` writes in one go, before it looks whether Ctrl-C was pressed.
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

    fn handle(&self, py: Python<'_>, name: &[u8]) -> Result<Arc<Handle>> {
        // Of its default tree sled would make another one, with watchers of its own.
        let open = |db: &sled::Db| if name == DEFAULT_TREE { Ok((**db).clone()) } else { db.open_tree(name) };
        self.call(py, |db| Ok(self.engine.handle(open(db)?)))
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        guard::release(Closing(self.engine.clone()));
    }
}

/// Closes on drop, so that `guard::release` decides where that happens, or whether.
struct Closing(Arc<Engine>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close_unattended();
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

    #[doc = doc!("Db.open_tree")]
    fn open_tree(slf: &Bound<'_, Self>, name: Name) -> Result<Tree> {
        let handle = slf.get().handle(slf.py(), &name.0)?;
        Ok(Tree::new(handle, Some(slf.clone().unbind())))
    }

    #[doc = doc!("Db.tree_names")]
    fn tree_names(&self, py: Python<'_>) -> Result<Vec<Blob>> {
        let mut names = self.call(py, |db| Ok(db.tree_names()))?;
        names.sort_unstable();
        Ok(names.into_iter().map(Blob).collect())
    }

    #[doc = doc!("Db.drop_tree")]
    fn drop_tree(&self, py: Python<'_>, name: Name) -> Result<bool> {
        guard::call(py, || self.engine.drop_tree(&name.0))
    }

    #[doc = doc!("Db.size_on_disk")]
    fn size_on_disk(&self, py: Python<'_>) -> Result<u64> {
        self.call(py, |db| Ok(db.size_on_disk()?))
    }

    #[doc = doc!("Db.generate_id")]
    fn generate_id(&self, py: Python<'_>) -> Result<u64> {
        self.call(py, |db| Ok(db.generate_id()?))
    }

    #[doc = doc!("Db.checksum")]
    fn checksum(&self, py: Python<'_>) -> Result<u32> {
        let engine = self.engine.clone();
        guard::call(py, || guard::apart(move || engine.with(|db| Ok(db.checksum()?))))
    }

    #[doc = doc!("Db.export")]
    fn export(slf: &Bound<'_, Self>) -> Result<Vec<Exported>> {
        let py = slf.py();
        let mut names = slf.get().call(py, |db| Ok(db.tree_names()))?;
        names.sort_unstable();
        let export = |name: IVec| {
            let handle = slf.get().handle(py, &name)?;
            let tree = Py::new(py, Tree::new(handle, Some(slf.clone().unbind())))?;
            Ok((Blob(TREE.into()), Blob(name), Iter::over(tree)))
        };
        names.into_iter().map(export).collect()
    }

    #[doc = doc!("Db.import_")]
    fn import_(&self, py: Python<'_>, export: &Bound<'_, PyAny>) -> Result<()> {
        for collection in export.try_iter()? {
            let [kind, name, items]: [Bound<'_, PyAny>; 3] = collection?.extract()?;
            if kind.extract::<Data<'_, '_>>()?.as_slice() != TREE {
                return Err(Error::Misuse("only collections of type b'tree' can be imported".into()));
            }
            let handle = self.handle(py, &name.extract::<Name>()?.0)?;
            let mut items = items.try_iter()?;
            loop {
                let (mut chunk, mut bytes) = (Vec::new(), 0);
                for item in items.by_ref() {
                    let (key, value) = pair(&item?)?;
                    bytes += key.len() + value.len();
                    chunk.push((key, value));
                    if chunk.len() == IMPORT_CHUNK || bytes > CHUNK_BYTES {
                        break;
                    }
                }
                if chunk.is_empty() {
                    break;
                }
                guard::call(py, || handle.with(|tree| insert_new(tree, chunk)))?;
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
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, pyo3::types::PyTuple>) -> Result<()> {
        self.close(py)
    }

    fn __repr__(&self) -> String {
        let state = if self.engine.check_open().is_ok() { "" } else { " (closed)" };
        format!("<sled.Db {}{state}>", self.engine.path().display())
    }
}

fn pair(item: &Bound<'_, PyAny>) -> Result<(IVec, IVec)> {
    let [key, value]: [Bound<'_, PyAny>; 2] = item.extract()?;
    Ok((key.extract::<Data<'_, '_>>()?.to_ivec(), value.extract::<Data<'_, '_>>()?.to_ivec()))
}

/// Where sled overwrites the value and then panics, this leaves it alone.
fn insert_new(tree: &sled::Tree, pairs: Vec<(IVec, IVec)>) -> Result<()> {
    for (key, value) in pairs {
        if tree.compare_and_swap(key, None::<&[u8]>, Some(value))?.is_err() {
            return Err(Error::Misuse(format!("the tree {:?} {NOT_EMPTY}", String::from_utf8_lossy(&tree.name()))));
        }
    }
    Ok(())
}
