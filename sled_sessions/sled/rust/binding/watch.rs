//! Watchers and their events.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use pyo3::{prelude::*, types::PyTuple};
use sled::IVec;

use crate::{
    binding::bytes::Bytes,
    error::{Error, Result},
    runtime::{
        events::Queue,
        fork,
        guard::{self, SIGNAL_INTERVAL},
    },
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
    fn key(&self) -> Bytes {
        Bytes(self.key.clone())
    }

    #[doc = doc!("Event.value")]
    #[getter]
    fn value(&self) -> Option<Bytes> {
        self.value.clone().map(Bytes)
    }

    // Only sizes, because keys and values may be secrets and reprs end up in logs.
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

#[doc = doc!("Subscriber")]
#[pyclass(frozen, weakref, module = "sled_sessions.sled")]
pub struct Subscriber {
    /// The Python object that keeps the database open.
    _tree: Py<PyAny>,
    queue: Arc<Queue>,
}

impl Subscriber {
    pub fn new(tree: Py<PyAny>, queue: Arc<Queue>) -> Self {
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
        // In a forked child a thread that does not exist there may hold the queue's lock.
        if fork::check_process().is_ok() {
            self.queue.end();
            self.queue.clear(); // the hub may keep the queue until the next event
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
            // Beyond the clock's range means no deadline.
            Some(seconds) if seconds >= 0.0 => {
                Duration::try_from_secs_f64(seconds).ok().and_then(|timeout| Instant::now().checked_add(timeout))
            }
            Some(_) => return Err(Error::Value("timeout must be a number of seconds, not negative".into())),
        };
        self.wait(py, deadline)
    }

    #[doc = doc!("Subscriber.close")]
    fn close(&self) -> Result<()> {
        fork::check_process()?;
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
