//! A tree: an ordered map from bytes to bytes.

use std::{
    ops::Bound::{Excluded, Unbounded},
    sync::Arc,
};

use pyo3::{exceptions::PyKeyError, prelude::*, types::PyBytes};
use sled::{CompareAndSwapError, IVec};

use crate::{
    binding::{
        batch::Batch,
        bytes::{Buffer, Bytes, pair},
        iter::{Iter, Part, Span},
        watch::Subscriber,
    },
    error::{Error, Result},
    runtime::{backwards, engine::TreeHandle, events::Queue, guard},
};

/// How many keys a long call handles before it checks for signals such as Ctrl-C.
const CHUNK: usize = 4096;

#[doc = doc!("Tree")]
#[pyclass(subclass, frozen, weakref, module = "sled_sessions.sled")]
pub struct Tree {
    handle: Arc<TreeHandle>,
    /// The `Db`, which keeps the database open; None in the `Db` itself, which is its own default tree.
    db: Option<Py<PyAny>>,
}

impl Tree {
    pub fn new(handle: Arc<TreeHandle>, db: Option<Py<PyAny>>) -> Self {
        Tree { handle, db }
    }

    pub fn handle(&self) -> &Arc<TreeHandle> {
        &self.handle
    }

    #[inline]
    fn call<T: Send>(&self, py: Python<'_>, work: impl FnOnce(&sled::Tree) -> sled::Result<T> + Send) -> Result<T> {
        guard::call(py, || self.handle.with(|tree| Ok(work(tree)?)))
    }

    #[inline]
    fn write<T: Send>(&self, py: Python<'_>, work: impl FnOnce(&sled::Tree) -> sled::Result<T> + Send) -> Result<T> {
        guard::call(py, || self.handle.write(|tree| Ok(work(tree)?)))
    }

    fn iterate(slf: Py<Self>, part: Part, span: Span, reverse: bool) -> Iter {
        let handle = slf.get().handle.clone();
        Iter::new(slf.into_any(), handle, part, span, reverse)
    }

    /// Do something with each key, and check for signals in between.
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

    /// Returns the values before and after. sled's own update methods would hold its locks while Python runs.
    fn update(&self, py: Python<'_>, key: &[u8], function: &Bound<'_, PyAny>) -> Result<(Option<IVec>, Option<IVec>)> {
        let mut before = self.call(py, |tree| tree.get(key))?;
        loop {
            let answer = function.call1((before.clone().map(Bytes),))?;
            let after = answer.extract::<Option<Buffer<'_, '_>>>()?.map(|value| value.to_ivec());
            let (old, new) = (before.as_deref(), after.clone());
            match self.write(py, |tree| tree.compare_and_swap(key, old, new))? {
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
            Some(db) => db.bind(slf.py()).clone(),
            None => slf.clone().into_any(),
        }
    }

    #[doc = doc!("Tree.get")]
    fn get(&self, py: Python<'_>, key: Buffer<'_, '_>) -> Result<Option<Bytes>> {
        let key = key.as_slice();
        Ok(self.call(py, |tree| tree.get(key))?.map(Bytes))
    }

    #[doc = doc!("Tree.contains")]
    fn contains(&self, py: Python<'_>, key: Buffer<'_, '_>) -> Result<bool> {
        let key = key.as_slice();
        self.call(py, |tree| tree.contains_key(key))
    }

    fn __contains__(&self, py: Python<'_>, key: Buffer<'_, '_>) -> Result<bool> {
        self.contains(py, key)
    }

    fn __getitem__(&self, py: Python<'_>, key: Buffer<'_, '_>) -> Result<Bytes> {
        let wanted = key.as_slice();
        self.call(py, |tree| tree.get(wanted))?.map(Bytes).ok_or_else(|| missing(py, &key))
    }

    fn __setitem__(&self, py: Python<'_>, key: Buffer<'_, '_>, value: Buffer<'_, '_>) -> Result<()> {
        self.insert(py, key, value)?;
        Ok(())
    }

    fn __delitem__(&self, py: Python<'_>, key: Buffer<'_, '_>) -> Result<()> {
        let wanted = key.as_slice();
        self.write(py, |tree| tree.remove(wanted))?.map(drop).ok_or_else(|| missing(py, &key))
    }

    #[doc = doc!("Tree.insert")]
    fn insert(&self, py: Python<'_>, key: Buffer<'_, '_>, value: Buffer<'_, '_>) -> Result<Option<Bytes>> {
        let (key, value) = (key.as_slice(), value.as_slice());
        Ok(self.write(py, |tree| tree.insert(key, value))?.map(Bytes))
    }

    #[doc = doc!("Tree.remove")]
    fn remove(&self, py: Python<'_>, key: Buffer<'_, '_>) -> Result<Option<Bytes>> {
        let key = key.as_slice();
        Ok(self.write(py, |tree| tree.remove(key))?.map(Bytes))
    }

    #[doc = doc!("Tree.compare_and_swap")]
    fn compare_and_swap(
        &self,
        py: Python<'_>,
        key: Buffer<'_, '_>,
        old: Option<Buffer<'_, '_>>,
        new: Option<Buffer<'_, '_>>,
    ) -> Result<bool> {
        let key = key.as_slice();
        let old = old.as_ref().map(Buffer::as_slice);
        let new = new.as_ref().map(Buffer::as_slice);
        Ok(self.write(py, |tree| tree.compare_and_swap(key, old, new))?.is_ok())
    }

    #[doc = doc!("Tree.update_and_fetch")]
    fn update_and_fetch(
        &self,
        py: Python<'_>,
        key: Buffer<'_, '_>,
        function: &Bound<'_, PyAny>,
    ) -> Result<Option<Bytes>> {
        Ok(self.update(py, key.as_slice(), function)?.1.map(Bytes))
    }

    #[doc = doc!("Tree.fetch_and_update")]
    fn fetch_and_update(
        &self,
        py: Python<'_>,
        key: Buffer<'_, '_>,
        function: &Bound<'_, PyAny>,
    ) -> Result<Option<Bytes>> {
        Ok(self.update(py, key.as_slice(), function)?.0.map(Bytes))
    }

    #[doc = doc!("Tree.apply_batch")]
    fn apply_batch(&self, py: Python<'_>, batch: &Batch) -> Result<()> {
        let batch = batch.snapshot();
        self.write(py, |tree| tree.apply_batch(batch))
    }

    #[doc = doc!("Tree.first")]
    fn first(&self, py: Python<'_>) -> Result<Option<(Bytes, Bytes)>> {
        Ok(self.call(py, |tree| tree.first())?.map(pair))
    }

    #[doc = doc!("Tree.last")]
    fn last(&self, py: Python<'_>) -> Result<Option<(Bytes, Bytes)>> {
        Ok(self.call(py, |tree| backwards::last(tree, None))?.map(pair))
    }

    #[doc = doc!("Tree.get_lt")]
    fn get_lt(&self, py: Python<'_>, key: Buffer<'_, '_>) -> Result<Option<(Bytes, Bytes)>> {
        let key = key.as_slice();
        Ok(self.call(py, |tree| backwards::last(tree, Some(key)))?.map(pair))
    }

    #[doc = doc!("Tree.get_gt")]
    fn get_gt(&self, py: Python<'_>, key: Buffer<'_, '_>) -> Result<Option<(Bytes, Bytes)>> {
        let key = key.as_slice();
        Ok(self.call(py, |tree| tree.get_gt(key))?.map(pair))
    }

    #[doc = doc!("Tree.pop_min")]
    fn pop_min(&self, py: Python<'_>) -> Result<Option<(Bytes, Bytes)>> {
        Ok(self.write(py, |tree| tree.pop_min())?.map(pair))
    }

    #[doc = doc!("Tree.pop_max")]
    fn pop_max(&self, py: Python<'_>) -> Result<Option<(Bytes, Bytes)>> {
        let pop = |tree: &sled::Tree| {
            while let Some((key, value)) = backwards::last(tree, None)? {
                if tree.compare_and_swap(&key, Some(&value), None::<&[u8]>)?.is_ok() {
                    return Ok(Some((key, value)));
                }
            }
            Ok(None)
        };
        Ok(self.write(py, pop)?.map(pair))
    }

    #[doc = doc!("Tree.range")]
    #[pyo3(signature = (start = None, stop = None, *, reverse = false))]
    fn range(slf: Py<Self>, start: Option<Buffer<'_, '_>>, stop: Option<Buffer<'_, '_>>, reverse: bool) -> Iter {
        Self::iterate(slf, Part::Items, Span::range(start, stop), reverse)
    }

    #[doc = doc!("Tree.prefix")]
    #[pyo3(signature = (prefix, *, reverse = false))]
    fn prefix(slf: Py<Self>, prefix: Buffer<'_, '_>, reverse: bool) -> Iter {
        Self::iterate(slf, Part::Items, Span::prefix(prefix.as_slice()), reverse)
    }

    #[doc = doc!("Tree.keys")]
    #[pyo3(signature = (start = None, stop = None, *, reverse = false))]
    fn keys(slf: Py<Self>, start: Option<Buffer<'_, '_>>, stop: Option<Buffer<'_, '_>>, reverse: bool) -> Iter {
        Self::iterate(slf, Part::Keys, Span::range(start, stop), reverse)
    }

    #[doc = doc!("Tree.values")]
    #[pyo3(signature = (start = None, stop = None, *, reverse = false))]
    fn values(slf: Py<Self>, start: Option<Buffer<'_, '_>>, stop: Option<Buffer<'_, '_>>, reverse: bool) -> Iter {
        Self::iterate(slf, Part::Values, Span::range(start, stop), reverse)
    }

    pub fn __iter__(slf: Py<Self>) -> Iter {
        Self::iterate(slf, Part::Items, Span::range(None, None), false)
    }

    fn __reversed__(slf: Py<Self>) -> Iter {
        Self::iterate(slf, Part::Items, Span::range(None, None), true)
    }

    // sled's own `len` counts errors too, and after damage they never end.
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
        self.handle.engine().health().check_writable()?;
        self.for_each(py, |tree, key| tree.remove(key).map(drop))?;
        self.handle.engine().health().check_writable()
    }

    #[doc = doc!("Tree.checksum")]
    fn checksum(&self, py: Python<'_>) -> Result<u32> {
        let handle = self.handle.clone();
        guard::call(py, || guard::call_interruptibly(move || handle.with(|tree| Ok(tree.checksum()?))))
    }

    #[doc = doc!("Tree.flush")]
    #[pyo3(signature = (fsync = false))]
    fn flush(&self, py: Python<'_>, fsync: bool) -> Result<usize> {
        guard::call(py, || self.handle.engine().flush(fsync))
    }

    #[doc = doc!("Tree.watch")]
    #[pyo3(signature = (prefix = None, *, capacity = 65536))]
    fn watch(slf: &Bound<'_, Self>, prefix: Option<Buffer<'_, '_>>, capacity: usize) -> Result<Subscriber> {
        if capacity == 0 {
            return Err(Error::Value("capacity must be at least 1".into()));
        }
        let queue = Queue::new(prefix.as_ref().map_or(&[], Buffer::as_slice), capacity);
        let handle = slf.get().handle();
        guard::call(slf.py(), || handle.watch(queue.clone()))?;
        Ok(Subscriber::new(slf.clone().into_any().unbind(), queue))
    }

    fn __repr__(&self) -> String {
        format!(
            "<sled.Tree {:?} of {}>",
            String::from_utf8_lossy(self.handle.name()),
            self.handle.engine().path().display()
        )
    }
}

fn missing(py: Python<'_>, key: &Buffer<'_, '_>) -> Error {
    PyKeyError::new_err(PyBytes::new(py, key.as_slice()).unbind()).into()
}
