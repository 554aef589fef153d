//! A tree: an ordered map from bytes to bytes.

use std::{
    ops::Bound::{Excluded, Unbounded},
    sync::Arc,
};

use pyo3::{exceptions::PyKeyError, prelude::*, types::PyBytes};
use sled::{CompareAndSwapError, IVec};

use crate::{
    batch::Batch,
    buffer::{Blob, Data, pair},
    db::Db,
    engine::Handle,
    error::{Error, Result},
    guard,
    iter::{Iter, Part, Span},
    reverse,
    watch::{Queue, Subscriber},
};

/// Keys that a call goes through before it looks whether Ctrl-C was pressed.
const CHUNK: usize = 4096;

#[doc = doc!("Tree")]
#[pyclass(subclass, frozen, weakref, module = "sled_sessions.sled")]
pub struct Tree {
    handle: Arc<Handle>,
    /// Keeps the database open; absent in the database itself, which is its own default tree.
    db: Option<Py<Db>>,
}

impl Tree {
    pub fn new(handle: Arc<Handle>, db: Option<Py<Db>>) -> Self {
        Tree { handle, db }
    }

    pub fn handle(&self) -> &Arc<Handle> {
        &self.handle
    }

    #[inline]
    fn call<T: Send>(&self, py: Python<'_>, work: impl FnOnce(&sled::Tree) -> sled::Result<T> + Send) -> Result<T> {
        guard::call(py, || self.handle.with(|tree| Ok(work(tree)?)))
    }

    /// Do something with each key, and look in between whether Ctrl-C was pressed.
    fn for_each(
        &self,
        py: Python<'_>,
        mut work: impl FnMut(&sled::Tree, &IVec) -> sled::Result<()> + Send,
    ) -> Result<()> {
        let mut start = Unbounded;
        loop {
            let chunk = |tree: &sled::Tree| {
                let keys = tree.range((start.clone(), Unbounded)).keys().take(CHUNK);
                keys.into_iter().try_fold(None, |_, key| key.and_then(|key| work(tree, &key).map(|()| Some(key))))
            };
            match self.call(py, chunk)? {
                Some(last) => start = Excluded(last),
                None => return Ok(()),
            }
            py.check_signals()?;
        }
    }

    /// The loop of `update_and_fetch` and `fetch_and_update`: sled's own would hold its locks while Python runs.
    /// Returns the value before and the value after.
    fn update(&self, py: Python<'_>, key: &[u8], function: &Bound<'_, PyAny>) -> Result<(Option<IVec>, Option<IVec>)> {
        let mut before = self.call(py, |tree| tree.get(key))?;
        loop {
            let answer = function.call1((before.clone().map(Blob),))?;
            let after = answer.extract::<Option<Data<'_, '_>>>()?.map(|value| value.to_ivec());
            let (old, new) = (before.as_deref(), after.clone());
            match self.call(py, |tree| tree.compare_and_swap(key, old, new))? {
                Ok(()) => return Ok((before, after)),
                Err(CompareAndSwapError { current, .. }) => before = current,
            }
        }
    }
}

#[pymethods]
impl Tree {
    #[doc = doc!("Tree.name")]
    #[getter]
    fn name<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.handle.name())
    }

    #[doc = doc!("Tree.db")]
    #[getter]
    fn db<'py>(slf: &Bound<'py, Self>) -> Bound<'py, PyAny> {
        match &slf.get().db {
            Some(db) => db.bind(slf.py()).clone().into_any(),
            None => slf.clone().into_any(),
        }
    }

    #[doc = doc!("Tree.get")]
    fn get(&self, py: Python<'_>, key: Data<'_, '_>) -> Result<Option<Blob>> {
        let key = key.as_slice();
        Ok(self.call(py, |tree| tree.get(key))?.map(Blob))
    }

    #[doc = doc!("Tree.contains")]
    fn contains(&self, py: Python<'_>, key: Data<'_, '_>) -> Result<bool> {
        let key = key.as_slice();
        self.call(py, |tree| tree.contains_key(key))
    }

    fn __contains__(&self, py: Python<'_>, key: Data<'_, '_>) -> Result<bool> {
        self.contains(py, key)
    }

    fn __getitem__(&self, py: Python<'_>, key: Data<'_, '_>) -> Result<Blob> {
        let wanted = key.as_slice();
        match self.call(py, |tree| tree.get(wanted))? {
            Some(value) => Ok(Blob(value)),
            None => Err(missing(py, &key)),
        }
    }

    fn __setitem__(&self, py: Python<'_>, key: Data<'_, '_>, value: Data<'_, '_>) -> Result<()> {
        self.insert(py, key, value)?;
        Ok(())
    }

    fn __delitem__(&self, py: Python<'_>, key: Data<'_, '_>) -> Result<()> {
        let wanted = key.as_slice();
        match self.call(py, |tree| tree.remove(wanted))? {
            Some(_) => Ok(()),
            None => Err(missing(py, &key)),
        }
    }

    #[doc = doc!("Tree.insert")]
    fn insert(&self, py: Python<'_>, key: Data<'_, '_>, value: Data<'_, '_>) -> Result<Option<Blob>> {
        let (key, value) = (key.as_slice(), value.as_slice());
        Ok(self.call(py, |tree| tree.insert(key, value))?.map(Blob))
    }

    #[doc = doc!("Tree.remove")]
    fn remove(&self, py: Python<'_>, key: Data<'_, '_>) -> Result<Option<Blob>> {
        let key = key.as_slice();
        Ok(self.call(py, |tree| tree.remove(key))?.map(Blob))
    }

    #[doc = doc!("Tree.compare_and_swap")]
    fn compare_and_swap(
        &self,
        py: Python<'_>,
        key: Data<'_, '_>,
        old: Option<Data<'_, '_>>,
        new: Option<Data<'_, '_>>,
    ) -> Result<bool> {
        let key = key.as_slice();
        let old = old.as_ref().map(Data::as_slice);
        let new = new.as_ref().map(Data::as_slice);
        Ok(self.call(py, |tree| tree.compare_and_swap(key, old, new))?.is_ok())
    }

    #[doc = doc!("Tree.update_and_fetch")]
    fn update_and_fetch(&self, py: Python<'_>, key: Data<'_, '_>, function: &Bound<'_, PyAny>) -> Result<Option<Blob>> {
        Ok(self.update(py, key.as_slice(), function)?.1.map(Blob))
    }

    #[doc = doc!("Tree.fetch_and_update")]
    fn fetch_and_update(&self, py: Python<'_>, key: Data<'_, '_>, function: &Bound<'_, PyAny>) -> Result<Option<Blob>> {
        Ok(self.update(py, key.as_slice(), function)?.0.map(Blob))
    }

    #[doc = doc!("Tree.apply_batch")]
    fn apply_batch(&self, py: Python<'_>, batch: &Batch) -> Result<()> {
        let batch = batch.snapshot();
        self.call(py, |tree| tree.apply_batch(batch))
    }

    #[doc = doc!("Tree.first")]
    fn first(&self, py: Python<'_>) -> Result<Option<(Blob, Blob)>> {
        Ok(self.call(py, |tree| tree.first())?.map(pair))
    }

    #[doc = doc!("Tree.last")]
    fn last(&self, py: Python<'_>) -> Result<Option<(Blob, Blob)>> {
        Ok(self.call(py, |tree| reverse::last(tree, None))?.map(pair))
    }

    #[doc = doc!("Tree.get_lt")]
    fn get_lt(&self, py: Python<'_>, key: Data<'_, '_>) -> Result<Option<(Blob, Blob)>> {
        let key = key.as_slice();
        Ok(self.call(py, |tree| reverse::last(tree, Some(key)))?.map(pair))
    }

    #[doc = doc!("Tree.get_gt")]
    fn get_gt(&self, py: Python<'_>, key: Data<'_, '_>) -> Result<Option<(Blob, Blob)>> {
        let key = key.as_slice();
        Ok(self.call(py, |tree| tree.get_gt(key))?.map(pair))
    }

    #[doc = doc!("Tree.pop_min")]
    fn pop_min(&self, py: Python<'_>) -> Result<Option<(Blob, Blob)>> {
        Ok(self.call(py, |tree| tree.pop_min())?.map(pair))
    }

    #[doc = doc!("Tree.pop_max")]
    fn pop_max(&self, py: Python<'_>) -> Result<Option<(Blob, Blob)>> {
        let pop = |tree: &sled::Tree| {
            while let Some((key, value)) = reverse::last(tree, None)? {
                if tree.compare_and_swap(&key, Some(&value), None::<&[u8]>)?.is_ok() {
                    return Ok(Some((key, value)));
                }
            }
            Ok(None)
        };
        Ok(self.call(py, pop)?.map(pair))
    }

    #[doc = doc!("Tree.range")]
    #[pyo3(signature = (start = None, stop = None, *, reverse = false))]
    fn range(slf: Py<Self>, start: Option<Data<'_, '_>>, stop: Option<Data<'_, '_>>, reverse: bool) -> Iter {
        Iter::new(slf, Part::Items, Span::range(start, stop), reverse)
    }

    #[doc = doc!("Tree.prefix")]
    #[pyo3(signature = (prefix, *, reverse = false))]
    fn prefix(slf: Py<Self>, prefix: Data<'_, '_>, reverse: bool) -> Iter {
        Iter::new(slf, Part::Items, Span::prefix(prefix.as_slice()), reverse)
    }

    #[doc = doc!("Tree.keys")]
    #[pyo3(signature = (start = None, stop = None, *, reverse = false))]
    fn keys(slf: Py<Self>, start: Option<Data<'_, '_>>, stop: Option<Data<'_, '_>>, reverse: bool) -> Iter {
        Iter::new(slf, Part::Keys, Span::range(start, stop), reverse)
    }

    #[doc = doc!("Tree.values")]
    #[pyo3(signature = (start = None, stop = None, *, reverse = false))]
    fn values(slf: Py<Self>, start: Option<Data<'_, '_>>, stop: Option<Data<'_, '_>>, reverse: bool) -> Iter {
        Iter::new(slf, Part::Values, Span::range(start, stop), reverse)
    }

    fn __iter__(slf: Py<Self>) -> Iter {
        Iter::over(slf)
    }

    fn __reversed__(slf: Py<Self>) -> Iter {
        Iter::new(slf, Part::Items, Span::range(None, None), true)
    }

    // sled's `len` counts errors too, and after damage they never end.
    fn __len__(&self, py: Python<'_>) -> Result<usize> {
        let mut count = 0;
        self.for_each(py, |_, _| {
            count += 1;
            Ok(())
        })?;
        Ok(count)
    }

    fn __bool__(&self, py: Python<'_>) -> Result<bool> {
        Ok(!self.is_empty(py)?)
    }

    #[doc = doc!("Tree.is_empty")]
    fn is_empty(&self, py: Python<'_>) -> Result<bool> {
        self.call(py, |tree| Ok(tree.first()?.is_none()))
    }

    #[doc = doc!("Tree.clear")]
    fn clear(&self, py: Python<'_>) -> Result<()> {
        self.for_each(py, |tree, key| tree.remove(key).map(drop))
    }

    #[doc = doc!("Tree.checksum")]
    fn checksum(&self, py: Python<'_>) -> Result<u32> {
        let handle = self.handle.clone();
        guard::call(py, || guard::apart(move || handle.with(|tree| Ok(tree.checksum()?))))
    }

    #[doc = doc!("Tree.flush")]
    #[pyo3(signature = (fsync = false))]
    fn flush(&self, py: Python<'_>, fsync: bool) -> Result<usize> {
        guard::call(py, || self.handle.engine().flush(fsync))
    }

    #[doc = doc!("Tree.watch")]
    #[pyo3(signature = (prefix = None, *, capacity = 65536))]
    fn watch(slf: &Bound<'_, Self>, prefix: Option<Data<'_, '_>>, capacity: usize) -> Result<Subscriber> {
        if capacity == 0 {
            return Err(Error::Value("capacity must be at least 1".into()));
        }
        let queue = Queue::new(prefix.as_ref().map_or(&[], Data::as_slice), capacity);
        let handle = slf.get().handle();
        guard::call(slf.py(), || handle.watch(queue.clone()))?;
        Ok(Subscriber::new(slf.clone().unbind(), queue))
    }

    fn __repr__(&self) -> String {
        format!(
            "<sled.Tree {:?} of {}>",
            String::from_utf8_lossy(self.handle.name()),
            self.handle.engine().path().display()
        )
    }
}

fn missing(py: Python<'_>, key: &Data<'_, '_>) -> Error {
    PyKeyError::new_err(PyBytes::new(py, key.as_slice()).unbind()).into()
}
