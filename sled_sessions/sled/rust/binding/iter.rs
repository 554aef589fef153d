//! Iteration in chunks: each chunk is read without the GIL, beginning right after the last key.
//!
//! Between chunks nothing of sled is held, so an open iterator neither keeps the database open nor pins memory.

use std::{
    collections::VecDeque,
    ops::Bound::{Excluded, Included, Unbounded},
    sync::{Arc, Mutex},
};

use pyo3::prelude::*;
use sled::IVec;

use crate::{
    binding::bytes::{Buffer, Bytes, pair},
    error::{Error, Result},
    runtime::{
        CHUNK_BYTES,
        backwards::{Pair, after_prefix, last_pairs},
        engine::TreeHandle,
        guard,
        locks::{lock, try_lock},
    },
};

/// The first chunk is small, for callers that look only at the first few pairs.
const FIRST_CHUNK: usize = 4;
const MAX_CHUNK: usize = 1024;

/// What an iterator yields.
#[derive(Clone, Copy, PartialEq)]
pub enum Part {
    Items,
    Keys,
    Values,
}

/// The keys from `start` up to but without `stop`; None is the end of the tree.
pub struct Span {
    start: IVec,
    stop: Option<IVec>,
}

impl Span {
    pub fn range(start: Option<Buffer<'_, '_>>, stop: Option<Buffer<'_, '_>>) -> Self {
        Span { start: start.map_or_else(IVec::default, |key| key.to_ivec()), stop: stop.map(|key| key.to_ivec()) }
    }

    pub fn prefix(prefix: &[u8]) -> Self {
        Span { start: prefix.into(), stop: after_prefix(prefix).map(IVec::from) }
    }
}

#[doc = doc!("Iter")]
#[pyclass(frozen, module = "sled_sessions.sled")]
pub struct Iter {
    /// The Python object that keeps the database open.
    _tree: Py<PyAny>,
    handle: Arc<TreeHandle>,
    part: Part,
    reverse: bool,
    cursor: Mutex<Cursor>,
}

struct Cursor {
    /// What has not been read yet.
    rest: Span,
    /// What has been read but not yielded yet.
    ready: VecDeque<Pair>,
    chunk: usize,
    /// The tree ended, or reading failed: sled would yield the same error for ever.
    ended: bool,
    error: Option<Error>,
}

impl Iter {
    pub fn new(tree: Py<PyAny>, handle: Arc<TreeHandle>, part: Part, rest: Span, reverse: bool) -> Self {
        let cursor = Cursor { rest, ready: VecDeque::new(), chunk: FIRST_CHUNK, ended: false, error: None };
        Iter { _tree: tree, handle, part, reverse, cursor: Mutex::new(cursor) }
    }

    fn next(&self, py: Python<'_>) -> Result<Option<Pair>> {
        guard::check()?;
        self.handle.engine().check_open()?;
        // Never wait for this lock with the GIL: another thread may hold it while it reads.
        if let Some(mut cursor) = try_lock(&self.cursor)
            && let Some(pair) = cursor.ready.pop_front()
        {
            return Ok(Some(pair));
        }
        py.check_signals()?;
        guard::call(py, || {
            let mut cursor = lock(&self.cursor);
            if cursor.ready.is_empty() && !cursor.ended {
                self.handle.with(|tree| {
                    cursor.ended = true; // also if sled panics
                    if self.reverse {
                        cursor.read_back(tree)
                    } else {
                        cursor.read(tree, self.part)
                    }
                    Ok(())
                })?;
            }
            if let Some(pair) = cursor.ready.pop_front() {
                return Ok(Some(pair));
            }
            cursor.error.take().map_or(Ok(None), |error| Err(error.at(self.handle.engine().path())))
        })
    }
}

impl Cursor {
    fn read(&mut self, tree: &sled::Tree, part: Part) {
        let stop = self.rest.stop.clone().map_or(Unbounded, Excluded);
        let mut pairs = tree.range((Included(self.rest.start.clone()), stop));
        let mut ready = VecDeque::new();
        let mut bytes = 0;
        let goes_on = loop {
            if ready.len() == self.chunk || bytes > CHUNK_BYTES {
                break true;
            }
            match pairs.next() {
                Some(Ok((key, value))) => {
                    bytes += key.len() + value.len();
                    // The key is needed to go on; an empty value takes no memory.
                    let value = if part == Part::Keys { IVec::default() } else { value };
                    ready.push_back((key, value));
                }
                Some(Err(error)) => {
                    self.error = Some(error.into());
                    break false;
                }
                None => break false,
            }
        };
        if let Some((last, _)) = ready.back() {
            self.rest.start = [last, &[0][..]].concat().into(); // the next possible key
        }
        self.ready = ready;
        self.chunk = (self.chunk * 4).min(MAX_CHUNK);
        self.ended = !goes_on;
    }

    fn read_back(&mut self, tree: &sled::Tree) {
        match last_pairs(tree, &self.rest.start, self.rest.stop.as_deref(), self.chunk) {
            Ok(pairs) => {
                if let Some((first, _)) = pairs.last() {
                    self.rest.stop = Some(first.clone());
                    self.ended = false;
                }
                self.chunk = (self.chunk * 4).min(MAX_CHUNK);
                self.ready = pairs.into();
            }
            Err(error) => self.error = Some(error.into()),
        }
    }
}

#[pymethods]
#[expect(clippy::self_named_constructors, reason = "Python names this method")]
impl Iter {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> Result<Option<Bound<'py, PyAny>>> {
        let Some((key, value)) = self.next(py)? else { return Ok(None) };
        Ok(Some(match self.part {
            Part::Items => pair((key, value)).into_pyobject(py)?.into_any(),
            Part::Keys => Bytes(key).into_pyobject(py).map_err(PyErr::from)?.into_any(),
            Part::Values => Bytes(value).into_pyobject(py).map_err(PyErr::from)?.into_any(),
        }))
    }
}
