//! Iteration in chunks: each is read from the tree in one go without the GIL, starting right after the last key.
//!
//! Between chunks nothing of sled is held, so an open iterator neither keeps the database open nor pins memory.

use std::{collections::VecDeque, ops, sync::Mutex};

use pyo3::prelude::*;
use sled::IVec;

use crate::{
    buffer::{Blob, Data},
    error::{Error, Result},
    guard,
    locks::{lock, try_lock},
    tree::Tree,
};

/// The first chunk is small, for those who only want to look at the first few pairs.
const FIRST_CHUNK: usize = 4;
const MAX_CHUNK: usize = 1024;
/// A chunk ends early when its pairs are large.
const MAX_CHUNK_BYTES: usize = 1 << 20;

/// What an iterator yields.
#[derive(Clone, Copy, PartialEq)]
pub enum Part {
    Items,
    Keys,
    Values,
}

/// The keys from `start` to `stop`.
pub struct Span {
    start: ops::Bound<IVec>,
    stop: ops::Bound<IVec>,
}

impl Span {
    pub fn range(start: Option<Data<'_, '_>>, stop: Option<Data<'_, '_>>) -> Self {
        Span {
            start: start.map_or(ops::Bound::Unbounded, |key| ops::Bound::Included(key.to_ivec())),
            stop: stop.map_or(ops::Bound::Unbounded, |key| ops::Bound::Excluded(key.to_ivec())),
        }
    }

    /// All keys that start with `prefix` lie before the next prefix of the same or smaller length.
    pub fn prefix(prefix: &[u8]) -> Self {
        let mut next = prefix.to_vec();
        while next.last() == Some(&u8::MAX) {
            next.pop();
        }
        let stop = match next.last_mut() {
            Some(last) => {
                *last += 1;
                ops::Bound::Excluded(next.into())
            }
            None => ops::Bound::Unbounded,
        };
        Span { start: ops::Bound::Included(prefix.into()), stop }
    }
}

#[doc = doc!("Iter")]
#[pyclass(frozen, module = "sled_sessions.sled")]
pub struct Iter {
    tree: Py<Tree>,
    part: Part,
    reverse: bool,
    state: Mutex<State>,
}

struct State {
    /// What has not been read yet.
    rest: Span,
    /// What has been read and not been yielded yet.
    ready: VecDeque<(IVec, IVec)>,
    chunk: usize,
    /// The tree ended, or reading failed: sled would yield the same error for ever.
    ended: bool,
    error: Option<Error>,
}

impl Iter {
    pub fn new(tree: Py<Tree>, part: Part, rest: Span, reverse: bool) -> Self {
        let state = State { rest, ready: VecDeque::new(), chunk: FIRST_CHUNK, ended: false, error: None };
        Iter { tree, part, reverse, state: Mutex::new(state) }
    }

    /// Over a whole tree.
    pub fn over(tree: Py<Tree>, part: Part) -> Self {
        Iter::new(tree, part, Span::range(None, None), false)
    }

    fn next(&self, py: Python<'_>) -> Result<Option<(IVec, IVec)>> {
        guard::check()?;
        self.tree.get().handle().engine().check_open()?;
        // Never wait here with the GIL: another thread may hold the lock while it reads.
        if let Some(mut state) = try_lock(&self.state)
            && let Some(pair) = state.ready.pop_front()
        {
            return Ok(Some(pair));
        }
        py.check_signals()?;
        guard::call(py, || {
            let mut state = lock(&self.state);
            if state.ready.is_empty() && !state.ended {
                self.tree.get().handle().with(|tree| {
                    state.read(tree, self.part, self.reverse);
                    Ok(())
                })?;
            }
            match state.ready.pop_front() {
                Some(pair) => Ok(Some(pair)),
                None => {
                    state.error.take().map_or(Ok(None), |error| Err(error.at(self.tree.get().handle().engine().path())))
                }
            }
        })
    }
}

impl State {
    fn read(&mut self, tree: &sled::Tree, part: Part, reverse: bool) {
        self.ended = true; // also if sled panics
        let mut pairs = tree.range((self.rest.start.clone(), self.rest.stop.clone()));
        let mut ready = VecDeque::new();
        let mut bytes = 0;
        let goes_on = loop {
            if ready.len() == self.chunk || bytes > MAX_CHUNK_BYTES {
                break true;
            }
            match if reverse { pairs.next_back() } else { pairs.next() } {
                Some(Ok((key, value))) => {
                    bytes += key.len() + value.len();
                    // An empty value costs nothing to keep, and the key is needed to go on.
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
            let end = if reverse { &mut self.rest.stop } else { &mut self.rest.start };
            *end = ops::Bound::Excluded(last.clone());
        }
        self.ready = ready;
        self.chunk = (self.chunk * 4).min(MAX_CHUNK);
        self.ended = !goes_on;
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
            Part::Items => (Blob(key), Blob(value)).into_pyobject(py)?.into_any(),
            Part::Keys => Blob(key).into_pyobject(py).map_err(PyErr::from)?.into_any(),
            Part::Values => Blob(value).into_pyobject(py).map_err(PyErr::from)?.into_any(),
        }))
    }
}
