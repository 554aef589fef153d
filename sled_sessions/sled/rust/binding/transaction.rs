//! Transactions over several trees of one database.
//!
//! sled runs the function under a lock that is global to the process, and its transactional trees belong to one thread.
//! They stay in a thread-local while the function runs. Python's objects only refer to them, so that an object that is
//! kept for later, or passed to another thread, has no access.

use std::{
    cell::{Cell, RefCell},
    sync::Arc,
    thread::{self, ThreadId},
};

use pyo3::{prelude::*, types::PyTuple};
use sled::transaction::{
    ConflictableTransactionError, TransactionError, Transactional, TransactionalTree, UnabortableTransactionError,
};

use crate::{
    binding::{
        batch::Batch,
        bytes::{Buffer, Bytes},
        tree::Tree,
    },
    error::{Error, Result},
    runtime::{
        engine::{Engine, TreeHandle},
        fork,
        guard::{self, OnDrop},
    },
};

thread_local! {
    static CURRENT: RefCell<Vec<TransactionalTree>> = const { RefCell::new(Vec::new()) };
    /// Counts this thread's attempts, so that a tree of an earlier attempt is recognized.
    static ATTEMPT: Cell<u64> = const { Cell::new(0) };
}

#[doc = doc!("transaction")]
#[pyfunction]
#[pyo3(signature = (function, *trees))]
pub fn transaction(py: Python<'_>, function: Py<PyAny>, trees: &Bound<'_, PyTuple>) -> Result<Py<PyAny>> {
    let trees = trees
        .iter()
        .map(|tree| Ok(tree.cast_into::<Tree>().map_err(PyErr::from)?.unbind()))
        .collect::<Result<Vec<_>>>()?;
    let handles = distinct(&trees)?;
    // A tree that is given twice is one tree with one set of pending writes.
    let positions: Vec<_> = trees.iter().map(|tree| position(&handles, tree.get().handle())).collect();
    guard::call(py, || {
        let held = handles.iter().map(|handle| handle.hold()).collect::<Result<Vec<_>>>()?;
        let trees = handles.iter().zip(&held).map(|(handle, tree)| handle.living(tree).cloned());
        let trees = trees.collect::<Result<Vec<_>>>()?;
        let engine = handles[0].engine();
        engine.health().check_writable()?;
        let outcome = trees.as_slice().transaction(|views| attempt(&function, views, &positions, &handles));
        let outcome = engine.health().examine(outcome.map_err(|error| match error {
            TransactionError::Abort(error) => error,
            TransactionError::Storage(error) => Error::from(error).at(engine.path()),
        }))?;
        engine.health().check_writable().map(|()| outcome)
    })
}

fn distinct(trees: &[Py<Tree>]) -> Result<Vec<&Arc<TreeHandle>>> {
    let mut handles: Vec<&Arc<TreeHandle>> = Vec::new();
    for handle in trees.iter().map(|tree| tree.get().handle()) {
        if position(&handles, handle) == handles.len() {
            handles.push(handle);
        }
    }
    match handles.split_first() {
        None => Err(Error::Misuse("a transaction needs at least one tree".into())),
        Some((first, others)) if others.iter().any(|other| !Arc::ptr_eq(first.engine(), other.engine())) => {
            Err(Error::unsupported("a transaction's trees must belong to one database".into()))
        }
        Some(_) => Ok(handles),
    }
}

fn position(handles: &[&Arc<TreeHandle>], wanted: &Arc<TreeHandle>) -> usize {
    let same =
        |handle: &&Arc<TreeHandle>| handle.name() == wanted.name() && Arc::ptr_eq(handle.engine(), wanted.engine());
    handles.iter().position(same).unwrap_or(handles.len())
}

/// Call the function once. sled holds its lock meanwhile.
fn attempt(
    function: &Py<PyAny>,
    views: &[TransactionalTree],
    positions: &[usize],
    handles: &[&Arc<TreeHandle>],
) -> std::result::Result<Py<PyAny>, ConflictableTransactionError<Error>> {
    CURRENT.set(views.to_vec());
    let _leave = OnDrop(|| {
        ATTEMPT.set(ATTEMPT.get() + 1);
        CURRENT.take();
    });
    guard::inside_transaction(|| {
        Python::attach(|py| -> Result<_> {
            let tree = |&index: &usize| TransactionTree {
                thread: thread::current().id(),
                number: ATTEMPT.get(),
                index,
                engine: handles[index].engine().clone(),
            };
            let trees = positions.iter().map(|index| Py::new(py, tree(index))).collect::<PyResult<Vec<_>>>()?;
            let answer = function.call1(py, PyTuple::new(py, trees)?)?;
            fork::check_process()?; // if the function has forked, only the parent writes the transaction
            Ok(answer)
        })
    })
    .map_err(ConflictableTransactionError::Abort)
}

#[doc = doc!("TransactionTree")]
#[pyclass(frozen, module = "sled_sessions.sled")]
pub struct TransactionTree {
    thread: ThreadId,
    number: u64,
    index: usize,
    engine: Arc<Engine>,
}

impl TransactionTree {
    fn call<T: Send>(&self, py: Python<'_>, work: impl FnOnce(&TransactionalTree) -> Result<T> + Send) -> Result<T> {
        guard::call_in_transaction(py, || {
            CURRENT.with_borrow(|trees| {
                let mine = self.thread == thread::current().id() && self.number == ATTEMPT.get();
                let tree = trees.get(self.index).filter(|_| mine).ok_or_else(|| {
                    Error::Misuse("a transaction's tree can be used only in its function and its thread".into())
                })?;
                work(tree).map_err(|error| error.at(self.engine.path()))
            })
        })
    }
}

impl From<UnabortableTransactionError> for Error {
    fn from(error: UnabortableTransactionError) -> Self {
        Error::Sled(match error {
            UnabortableTransactionError::Storage(error) => error,
            UnabortableTransactionError::Conflict => {
                sled::Error::ReportableBug("a conflict under the global lock".into())
            }
        })
    }
}

#[pymethods]
impl TransactionTree {
    #[doc = doc!("TransactionTree.get")]
    fn get(&self, py: Python<'_>, key: Buffer<'_, '_>) -> Result<Option<Bytes>> {
        let key = key.as_slice();
        Ok(self.call(py, |tree| Ok(tree.get(key)?))?.map(Bytes))
    }

    #[doc = doc!("TransactionTree.insert")]
    fn insert(&self, py: Python<'_>, key: Buffer<'_, '_>, value: Buffer<'_, '_>) -> Result<Option<Bytes>> {
        let (key, value) = (key.as_slice(), value.as_slice());
        Ok(self.call(py, |tree| Ok(tree.insert(key, value)?))?.map(Bytes))
    }

    #[doc = doc!("TransactionTree.remove")]
    fn remove(&self, py: Python<'_>, key: Buffer<'_, '_>) -> Result<Option<Bytes>> {
        let key = key.as_slice();
        Ok(self.call(py, |tree| Ok(tree.remove(key)?))?.map(Bytes))
    }

    #[doc = doc!("TransactionTree.apply_batch")]
    fn apply_batch(&self, py: Python<'_>, batch: &Batch) -> Result<()> {
        let batch = batch.snapshot();
        self.call(py, |tree| Ok(tree.apply_batch(&batch)?))
    }

    #[doc = doc!("TransactionTree.generate_id")]
    fn generate_id(&self, py: Python<'_>) -> Result<u64> {
        self.call(py, |tree| self.engine.ids.next(|| Ok(tree.generate_id()?)))
    }

    #[doc = doc!("TransactionTree.flush")]
    fn flush(&self, py: Python<'_>) -> Result<()> {
        self.call(py, |tree| {
            tree.flush();
            Ok(())
        })
    }
}
