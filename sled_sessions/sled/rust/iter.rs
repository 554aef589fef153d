//! Iteration in chunks: each is read from the tree in one go without the GIL, starting right after the last key.
//!
//! Between chunks nothing of sled is held, so an open iterator neither keeps the database open nor pins memory.

use std::{
    collections::VecDeque,
    ops::Bound::{Excluded, Included, Unbounded},
    sync::Mutex,
};

use pyo3::prelude::*;
use sled::IVec;

use crate::{
    buffer::{Blob, CHUNK_BYTES, Data},
    error::{Error, Result},
    guard,
    locks::{lock, try_lock},
    reverse::{last_pairs, mirrored},
    tree::Tree,
};

/// The first chunk is small, for those who only want to look at the first few pairs.
const FIRST_CHUNK: usize = 4;
const MAX_CHUNK: usize = 1024;

/// What an iterator yields.
#[derive(Clone, Copy, PartialEq)]
pub enum Part {
    Items,
    Keys,
    Values,
}

/// The keys from `start` on and before `stop`; None is the end of the tree.
pub struct Span {
    start: IVec,
    stop: Option<IVec>,
}

impl Span {
    pub fn range(start: Option<Data<'_, '_>>, stop: Option<Data<'_, '_>>) -> Self {
        Span { start: start.map_or_else(IVec::default, |key| key.to_ivec()), stop: stop.map(|key| key.to_ivec()) }
    }

    /// All keys that start with `prefix` lie before the next prefix of the same or smaller length.
    pub fn prefix(prefix: &[u8]) -> Self {
        let mut next = prefix.to_vec();
        while next.last() == Some(&u8::MAX) {
            next.pop();
        }
        if let Some(last) = next.last_mut() {
            *last += 1;
        }
        Span { start: prefix.into(), stop: Some(next.into()).filter(|stop: &IVec| !stop.is_empty()) }
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
    /// Where the next chunk may begin if that is backwards.
    guess: Vec<u8>,
    /// What has been read and not been yielded yet.
    ready: VecDeque<(IVec, IVec)>,
    chunk: usize,
    /// The tree ended, or reading failed: sled would yield the same error for ever.
    ended: bool,
    error: Option<Error>,
}

impl Iter {
    pub fn new(tree: Py<Tree>, part: Part, rest: Span, reverse: bool) -> Self {
        let guess = Vec::new();
        let state = State { rest, guess, ready: VecDeque::new(), chunk: FIRST_CHUNK, ended: false, error: None };
        Iter { tree, part, reverse, state: Mutex::new(state) }
    }

    /// Over a whole tree.
    pub fn over(tree: Py<Tree>) -> Self {
        Iter::new(tree, Part::Items, Span::range(None, None), false)
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
                    if self.reverse {
                        state.read_back(tree);
                    } else {
                        state.read(tree, self.part);
                    }
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
    fn read(&mut self, tree: &sled::Tree, part: Part) {
        self.ended = true; // also if sled panics
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
            self.rest.start = [last, &[0][..]].concat().into(); // the next key that there can be
        }
        self.ready = ready;
        self.chunk = (self.chunk * 4).min(MAX_CHUNK);
        self.ended = !goes_on;
    }

    fn read_back(&mut self, tree: &sled::Tree) {
        self.ended = true; // also if sled panics
        let stop = self.rest.stop.take();
        let guess = std::mem::take(&mut self.guess);
        match last_pairs(tree, &self.rest.start, stop.as_deref(), self.chunk, guess) {
            Ok(pairs) => {
                if let (Some((first, _)), Some((last, _))) = (pairs.first(), pairs.last()) {
                    // As far again as these came, and twice as far if that could have been more.
                    self.guess = mirrored(first, Some(stop.as_ref().unwrap_or(last)));
                    if pairs.len() < self.chunk / 2 {
                        self.guess = mirrored(&self.guess, Some(first));
                    }
                    self.rest.stop = Some(first.clone());
                    self.ended = false;
                }
                self.chunk = (self.chunk * 4).min(MAX_CHUNK);
                self.ready = pairs.into_iter().rev().collect();
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
            Part::Items => (Blob(key), Blob(value)).into_pyobject(py)?.into_any(),
            Part::Keys => Blob(key).into_pyobject(py).map_err(PyErr::from)?.into_any(),
            Part::Values => Blob(value).into_pyobject(py).map_err(PyErr::from)?.into_any(),
        }))
    }
}
