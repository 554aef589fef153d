//! The other format: as much of sled 1.0 as it takes to move whole trees between its folders and those of 0.34.
//!
//! What 1.0.0-alpha.124 does, and what is done about it here (each was tried):
//! - Its flush thread aborts the process when a write fails. It is never started; we flush.
//! - It keeps the memory of all leaves it has touched, whatever its cache's capacity. The database is opened anew after
//!   each `REOPEN_BYTES`.
//! - `Db::export` leaves the default tree out, and `import` makes an ordinary tree of 0.34's. Here 0.34's name for it
//!   stands for the default tree of either.

use std::{
    io,
    ops::Bound::{Excluded, Unbounded},
    path::{Path, PathBuf},
    sync::Mutex,
};

use pyo3::{prelude::*, types::PyBytes};
use sled_v1::InlineArray;

use crate::{
    buffer::{Data, Name},
    config::{is_v1, locked, prepare},
    error::{Error, Result},
    guard,
    locks::lock,
};

/// 0.34's name of the default tree.
const DEFAULT_TREE: &[u8] = b"__sled__default";

const REOPEN_BYTES: usize = 16 << 20;

/// Fixed in the folder when it is made; this is 1.0's default, which `sled::open` expects.
const LEAF_FANOUT: usize = 1024;

type Db = sled_v1::Db<LEAF_FANOUT>;
type Tree = sled_v1::Tree<LEAF_FANOUT>;

#[pyclass(frozen, module = "sled_sessions.sled")]
pub struct V1 {
    path: PathBuf,
    state: Mutex<State>,
}

/// `db` is None when it was closed, or could not be opened anew.
struct State {
    db: Option<Db>,
    touched: usize,
}

#[pyfunction]
pub fn open_v1(py: Python<'_>, path: PathBuf) -> Result<V1> {
    guard::call(py, || {
        refuse_0_34(&path)?;
        guard::claim_process()?;
        // The program may change its directory, and the folder is opened anew time and again.
        let path = prepare(&path, false)?;
        let db = open(&path)?;
        Ok(V1 { path, state: Mutex::new(State { db: Some(db), touched: 0 }) })
    })
}

#[pymethods]
impl V1 {
    fn tree_names<'py>(&self, py: Python<'py>) -> Result<Vec<Bound<'py, PyBytes>>> {
        let mut names = self.call(py, |db| Ok(names(db)))?;
        names.push(DEFAULT_TREE.to_vec());
        names.sort_unstable();
        names.dedup();
        Ok(names.iter().map(|name| PyBytes::new(py, name)).collect())
    }

    fn read<'py>(
        &self,
        py: Python<'py>,
        tree: Name,
        after: Option<Data<'_, '_>>,
        limit: usize,
    ) -> Result<Vec<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)>> {
        let start = after.as_ref().map_or(Unbounded, |key| Excluded(key.as_slice()));
        let pairs = self.touch(py, |db| {
            let tree = self.existing_tree(db, &tree.0)?;
            let pairs = tree.range::<&[u8], _>((start, Unbounded)).take(limit).collect::<io::Result<Vec<_>>>();
            let pairs = pairs.map_err(|error| self.error(error))?;
            let size = pairs.iter().map(|(key, value)| key.len() + value.len()).sum();
            Ok((pairs, size))
        })?;
        let bytes = |array: InlineArray| PyBytes::new(py, &array);
        Ok(pairs.into_iter().map(|(key, value)| (bytes(key), bytes(value))).collect())
    }

    fn insert_new(&self, py: Python<'_>, tree: Name, pairs: Vec<(Bound<'_, PyAny>, Bound<'_, PyAny>)>) -> Result<()> {
        let array = |data: &Bound<'_, PyAny>| -> Result<InlineArray> {
            Ok(InlineArray::from(data.extract::<Data<'_, '_>>()?.as_slice()))
        };
        let pairs = pairs.iter().map(|(key, value)| Ok((array(key)?, array(value)?))).collect::<Result<Vec<_>>>()?;
        self.touch(py, |db| {
            let tree = self.tree(db, &tree.0)?;
            let mut size = 0;
            for (key, value) in pairs {
                size += key.len() + value.len();
                if tree.contains_key(&key).map_err(|error| self.error(error))? {
                    return Err(Error::Misuse(format!("{} holds a key of the import already", self.path.display())));
                }
                tree.insert(key, value).map_err(|error| self.error(error))?;
            }
            Ok(((), size))
        })
    }

    fn close(&self, py: Python<'_>) -> Result<()> {
        guard::call(py, || {
            let mut state = lock(&self.state);
            state.db.take().map_or(Ok(()), |db| self.flush(&db))
        })
    }
}

impl V1 {
    fn call<T: Send>(&self, py: Python<'_>, work: impl FnOnce(&Db) -> Result<T> + Send) -> Result<T> {
        guard::call(py, || {
            let state = lock(&self.state);
            work(state.db.as_ref().ok_or_else(|| Error::Closed(self.path.clone()))?)
        })
    }

    /// The same for work that says how many bytes it touched.
    fn touch<T: Send>(&self, py: Python<'_>, work: impl FnOnce(&Db) -> Result<(T, usize)> + Send) -> Result<T> {
        guard::call(py, || {
            let mut state = lock(&self.state);
            let (answer, size) = work(state.db.as_ref().ok_or_else(|| Error::Closed(self.path.clone()))?)?;
            state.touched += size;
            if state.touched > REOPEN_BYTES {
                state.db.take().map_or(Ok(()), |db| self.flush(&db))?;
                *state = State { db: Some(open(&self.path)?), touched: 0 };
            }
            Ok(answer)
        })
    }

    fn flush(&self, db: &Db) -> Result<()> {
        db.flush().map_err(|error| self.error(error))?;
        Ok(())
    }

    /// The tree to write to, made if it is missing.
    fn tree(&self, db: &Db, name: &[u8]) -> Result<Tree> {
        if name == DEFAULT_TREE { Ok((**db).clone()) } else { db.open_tree(name).map_err(|error| self.error(error)) }
    }

    /// The tree to read. A program that used 1.0's own `import` has 0.34's default tree under 0.34's name.
    fn existing_tree(&self, db: &Db, name: &[u8]) -> Result<Tree> {
        let is_named = db.contains_tree(name).map_err(|error| self.error(error))?;
        if name != DEFAULT_TREE || !is_named {
            return self.tree(db, name);
        }
        let (own, named) = ((**db).clone(), db.open_tree(name).map_err(|error| self.error(error))?);
        if named.is_empty().map_err(|error| self.error(error))? {
            Ok(own)
        } else if own.is_empty().map_err(|error| self.error(error))? {
            Ok(named)
        } else {
            Err(Error::Sled(sled::Error::Unsupported(format!(
                "{} has a default tree and another one of the name __sled__default: remove one of them",
                self.path.display()
            ))))
        }
    }

    fn error(&self, error: io::Error) -> Error {
        explain(error, &self.path)
    }
}

impl Drop for V1 {
    fn drop(&mut self) {
        if let Some(db) = lock(&self.state).db.take() {
            guard::release(db);
        }
    }
}

/// sled 1.0 would make an empty database beside the files of 0.34.
fn refuse_0_34(path: &Path) -> Result<()> {
    if !is_v1(path) && ["conf", "db"].iter().any(|file| path.join(file).exists()) {
        return Err(Error::Sled(sled::Error::Unsupported(format!(
            "{0} was written by sled 0.34, whose format 1.0 cannot read: make a copy that it can with \
             sled-sessions migrate {0} NEW --to 1.0",
            path.display()
        ))));
    }
    Ok(())
}

fn open(path: &Path) -> Result<Db> {
    sled_v1::Config::new().path(path).flush_every_ms(None).open().map_err(|error| explain(error, path))
}

fn explain(error: io::Error, path: &Path) -> Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => locked(path),
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            Error::Damaged(format!("the files in {} are damaged: {error}", path.display()))
        }
        _ => Error::SledAt(error.into(), path.to_owned()),
    }
}

fn names(db: &Db) -> Vec<Vec<u8>> {
    db.export().into_iter().map(|(_, name, _)| name).collect()
}
