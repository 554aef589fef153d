//! Watching a tree: a thread carries sled's events into a queue of our own.
//!
//! sled's own channel is bounded, and a writer waits while it is full: whoever forgot a watcher would stop every
//! writer for ever. So a thread always drains it, and when our queue is full the oldest events go; the reader is told.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use pyo3::{prelude::*, types::PyTuple};
use sled::IVec;

use crate::{
    buffer::Blob,
    error::{Error, Result},
    guard,
    tree::Tree,
};

/// How long a waiting reader sleeps between two looks at pending signals, such as Ctrl-C.
const SIGNAL_INTERVAL: Duration = Duration::from_millis(50);

/// A write that changes nothing takes a place in sled's channel without waking anybody; writers wait when 1024 places
/// are taken, so the carrier looks by itself this often.
const NOOP_INTERVAL: Duration = Duration::from_millis(10);

#[pyclass(frozen, eq, hash, module = "sled_sessions.sled")]
#[derive(PartialEq, Eq, Hash)]
pub struct Event {
    key: IVec,
    value: Option<IVec>,
}

#[pymethods]
impl Event {
    #[getter]
    fn key(&self) -> Blob {
        Blob(self.key.clone())
    }

    #[getter]
    fn value(&self) -> Option<Blob> {
        self.value.clone().map(Blob)
    }

    /// Sizes only: keys and values may be secrets, and reprs end up in logs.
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

#[derive(Default)]
struct Queue {
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
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, event: sled::Event, capacity: usize) {
        let mut state = self.lock();
        if state.ended {
            return;
        }
        if state.events.len() >= capacity {
            state.events.pop_front();
            state.lost += 1;
        }
        state.events.push_back(event);
        self.changed.notify_one();
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

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Carry events until the watcher or its database is closed.
///
/// A sled subscriber that goes away takes a lock that a writer holds while it waits for room in the channel, which then
/// nobody makes: so it goes only after a moment in which nobody wrote.
fn carry(mut subscriber: sled::Subscriber, queue: &Queue, capacity: usize) {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut quiet = false;
    loop {
        // sled's `next_timeout` reports a disconnect for ever after a write that changed nothing; its future does not.
        match Pin::new(&mut subscriber).poll(&mut context) {
            Poll::Ready(Some(event)) => {
                quiet = false;
                queue.push(event, capacity);
            }
            Poll::Ready(None) => break,
            Poll::Pending if quiet && queue.lock().ended => break,
            Poll::Pending => {
                quiet = true;
                thread::park_timeout(NOOP_INTERVAL);
            }
        }
    }
}

#[pyclass(frozen, weakref, module = "sled_sessions.sled")]
pub struct Subscriber {
    /// Keeps the database open.
    _tree: Py<Tree>,
    queue: Arc<Queue>,
    carrier: Thread,
}

impl Subscriber {
    pub fn start(tree: Py<Tree>, subscriber: sled::Subscriber, capacity: usize) -> Result<Self> {
        if capacity == 0 {
            return Err(Error::Value("capacity must be at least 1".into()));
        }
        let queue = Arc::new(Queue::default());
        let theirs = queue.clone();
        let carrier = thread::Builder::new()
            .name("sled-watch".into())
            .spawn(move || {
                // sled panics when the database closes between two of its steps.
                guard::quietly(|| carry(subscriber, &theirs, capacity));
                theirs.end();
            })
            .map_err(|error| Error::Sled(error.into()))?;
        Ok(Subscriber { _tree: tree, queue, carrier: carrier.thread().clone() })
    }

    fn end(&self) {
        self.queue.end();
        self.carrier.unpark();
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
            self.end();
        }
    }
}

#[pymethods]
impl Subscriber {
    #[pyo3(signature = (timeout = None))]
    fn get(&self, py: Python<'_>, timeout: Option<f64>) -> Result<Option<Event>> {
        let deadline = match timeout.map(Duration::try_from_secs_f64) {
            None => None,
            Some(Ok(timeout)) => Instant::now().checked_add(timeout),
            Some(Err(_)) => return Err(Error::Value("timeout must be a number of seconds, not negative".into())),
        };
        self.wait(py, deadline)
    }

    fn close(&self) -> Result<()> {
        guard::check_process()?;
        self.end();
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
