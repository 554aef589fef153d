//! Watching a tree: one thread carries its events from sled into a queue for each watcher.
//!
//! sled's own channel is bounded, and a writer waits while it is full: whoever forgot a watcher would stop every
//! writer for ever. So a thread always drains it, and when a queue is full its oldest events go; the reader is told.
//!
//! The thread waits in sled's blocking iterator and keeps its sled subscriber until the tree is closed. The other ways
//! were tried: `next_timeout` reports a disconnect for ever after a write that changed nothing, and both polling a
//! subscriber and dropping it take a lock that a writer holds while it waits for room in the channel.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use pyo3::{prelude::*, types::PyTuple};
use sled::IVec;

use crate::{
    buffer::Blob,
    error::{Error, Result},
    guard::{self, SIGNAL_INTERVAL},
    locks::lock,
    tree::Tree,
};

#[doc = doc!("Event")]
#[pyclass(frozen, eq, hash, module = "sled_sessions.sled")]
#[derive(PartialEq, Eq, Hash)]
pub struct Event {
    key: IVec,
    value: Option<IVec>,
}

#[pymethods]
impl Event {
    #[doc = doc!("Event.key")]
    #[getter]
    fn key(&self) -> Blob {
        Blob(self.key.clone())
    }

    #[doc = doc!("Event.value")]
    #[getter]
    fn value(&self) -> Option<Blob> {
        self.value.clone().map(Blob)
    }

    // Sizes only: keys and values may be secrets, and reprs end up in logs.
    fn __repr__(&self) -> String {
        match &self.value {
            Some(value) => format!("<sled.Event insert: key of {} bytes, value of {}>", self.key.len(), value.len()),
            None => format!("<sled.Event remove: key of {} bytes>", self.key.len()),
        }
    }
}

impl From<sled::Event> for Event {
    fn from(event: sled::Event) -> Self {
        match event {
            sled::Event::Insert { key, value } => Event { key, value: Some(value) },
            sled::Event::Remove { key } => Event { key, value: None },
        }
    }
}

/// The events that wait for one watcher.
pub struct Queue {
    prefix: Vec<u8>,
    capacity: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    events: VecDeque<sled::Event>,
    lost: u64,
    ended: bool,
}

impl Queue {
    pub fn new(prefix: &[u8], capacity: usize) -> Arc<Self> {
        Arc::new(Queue { prefix: prefix.to_vec(), capacity, state: Mutex::default(), changed: Condvar::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Returns whether somebody still watches.
    fn offer(&self, event: &sled::Event) -> bool {
        let mut state = self.lock();
        if !state.ended && event.key().starts_with(&self.prefix) {
            if state.events.len() == self.capacity {
                state.events.pop_front();
                state.lost += 1;
            }
            state.events.push_back(event.clone());
            self.changed.notify_one();
        }
        !state.ended
    }

    fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }

    /// Wait for an event no longer than `patience`; `Ok(None)` when there was none.
    fn pop(&self, patience: Duration) -> Result<Option<sled::Event>> {
        let state = self.lock();
        let idle = |state: &mut State| state.events.is_empty() && state.lost == 0 && !state.ended;
        let (mut state, _) =
            self.changed.wait_timeout_while(state, patience, idle).unwrap_or_else(PoisonError::into_inner);
        if state.lost > 0 {
            return Err(Error::EventsLost(std::mem::take(&mut state.lost)));
        }
        match state.events.pop_front() {
            None if state.ended => Err(Error::WatcherClosed),
            event => Ok(event),
        }
    }
}

/// All watchers of one tree.
pub struct Hub(Mutex<Vec<Arc<Queue>>>);

impl Hub {
    /// Start the thread that carries the tree's events; it ends when the tree is closed.
    pub fn start(tree: &sled::Tree) -> Result<Arc<Self>> {
        let hub = Arc::new(Hub(Mutex::default()));
        let events = tree.watch_prefix([]);
        let carried = hub.clone();
        thread::Builder::new()
            .name("sled-watch".into())
            .spawn(move || {
                guard::quietly(|| events.for_each(|event| carried.queues().retain(|queue| queue.offer(&event))));
                carried.end();
            })
            .map_err(|error| Error::Sled(error.into()))?;
        Ok(hub)
    }

    pub fn add(&self, queue: Arc<Queue>) {
        let mut queues = self.queues();
        if queues.len() == queues.capacity() {
            queues.retain(|queue| !queue.lock().ended); // those that were closed since the last event
        }
        queues.push(queue);
    }

    /// No event will come any more.
    fn end(&self) {
        self.queues().drain(..).for_each(|queue| queue.end());
    }

    fn queues(&self) -> MutexGuard<'_, Vec<Arc<Queue>>> {
        lock(&self.0)
    }
}

#[doc = doc!("Subscriber")]
#[pyclass(frozen, weakref, module = "sled_sessions.sled")]
pub struct Subscriber {
    /// Keeps the database open.
    _tree: Py<Tree>,
    queue: Arc<Queue>,
}

impl Subscriber {
    pub fn new(tree: Py<Tree>, queue: Arc<Queue>) -> Self {
        Subscriber { _tree: tree, queue }
    }

    fn wait(&self, py: Python<'_>, deadline: Option<Instant>) -> Result<Option<Event>> {
        loop {
            let left = deadline.map_or(SIGNAL_INTERVAL, |deadline| deadline.saturating_duration_since(Instant::now()));
            let event = guard::call(py, || self.queue.pop(left.min(SIGNAL_INTERVAL)))?;
            if event.is_some() || left.is_zero() {
                return Ok(event.map(Event::from));
            }
            py.check_signals()?;
        }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        // In a forked child the queue's lock may be held by a thread that is not there.
        if guard::check_process().is_ok() {
            self.queue.end();
            self.queue.lock().events.clear(); // nobody can read them any more, and the hub may keep the queue for long
        }
    }
}

#[pymethods]
impl Subscriber {
    #[doc = doc!("Subscriber.get")]
    #[pyo3(signature = (timeout = None))]
    fn get(&self, py: Python<'_>, timeout: Option<f64>) -> Result<Option<Event>> {
        let deadline = match timeout {
            None => None,
            // Beyond what a clock can tell is for ever.
            Some(seconds) if seconds >= 0.0 => {
                Duration::try_from_secs_f64(seconds).ok().and_then(|timeout| Instant::now().checked_add(timeout))
            }
            Some(_) => return Err(Error::Value("timeout must be a number of seconds, not negative".into())),
        };
        self.wait(py, deadline)
    }

    #[doc = doc!("Subscriber.close")]
    fn close(&self) -> Result<()> {
        guard::check_process()?;
        self.queue.end();
        Ok(())
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> Result<Option<Event>> {
        match self.wait(py, None) {
            Err(Error::WatcherClosed) => Ok(None),
            outcome => outcome,
        }
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, _exception: &Bound<'_, PyTuple>) -> Result<()> {
        self.close()
    }
}
