//! The events of a watched tree: one thread carries them from sled to a queue for each watcher.
//!
//! sled's own channel is bounded, and writers block while it is full, so a forgotten watcher would stop every writer.
//! Here a thread always drains the channel. When a queue is full its oldest events are dropped, and the reader learns
//! how many.
//!
//! The thread waits in sled's blocking iterator and keeps its subscriber until the tree is closed. The alternatives
//! fail: `next_timeout` reports a disconnect for ever after a write that changed nothing; polling or dropping a
//! subscriber takes a lock that a writer holds while the channel is full.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use crate::{
    error::{Error, Result},
    runtime::{guard, locks::lock},
};

/// The events that wait for one watcher.
pub struct Queue {
    prefix: Vec<u8>,
    capacity: usize,
    backlog: Mutex<Backlog>,
    changed: Condvar,
}

#[derive(Default)]
struct Backlog {
    events: VecDeque<sled::Event>,
    lost: u64,
    ended: bool,
}

impl Queue {
    pub fn new(prefix: &[u8], capacity: usize) -> Arc<Self> {
        Arc::new(Queue { prefix: prefix.to_vec(), capacity, backlog: Mutex::default(), changed: Condvar::new() })
    }

    /// Add an event; return whether the watcher is still open.
    fn offer(&self, event: &sled::Event) -> bool {
        let mut backlog = lock(&self.backlog);
        if !backlog.ended && event.key().starts_with(&self.prefix) {
            if backlog.events.len() == self.capacity {
                backlog.events.pop_front();
                backlog.lost += 1;
            }
            backlog.events.push_back(event.clone());
            self.changed.notify_one();
        }
        !backlog.ended
    }

    pub fn end(&self) {
        lock(&self.backlog).ended = true;
        self.changed.notify_all();
    }

    /// Free the memory of events that will not be read.
    pub fn clear(&self) {
        lock(&self.backlog).events.clear();
    }

    /// Wait up to `patience` for an event; `Ok(None)` if there was none.
    pub fn pop(&self, patience: Duration) -> Result<Option<sled::Event>> {
        let idle = |backlog: &mut Backlog| backlog.events.is_empty() && backlog.lost == 0 && !backlog.ended;
        let (mut backlog, _) = self
            .changed
            .wait_timeout_while(lock(&self.backlog), patience, idle)
            .unwrap_or_else(PoisonError::into_inner);
        if backlog.lost > 0 {
            return Err(Error::EventsLost(std::mem::take(&mut backlog.lost)));
        }
        match backlog.events.pop_front() {
            None if backlog.ended => Err(Error::WatcherClosed),
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
                guard::discard_panic(|| events.for_each(|event| carried.queues().retain(|queue| queue.offer(&event))));
                carried.queues().drain(..).for_each(|queue| queue.end());
            })
            .map_err(|error| Error::Sled(error.into()))?;
        Ok(hub)
    }

    pub fn add(&self, queue: Arc<Queue>) {
        let mut queues = self.queues();
        if queues.len() == queues.capacity() {
            queues.retain(|queue| !lock(&queue.backlog).ended); // closed since the last event
        }
        queues.push(queue);
    }

    fn queues(&self) -> MutexGuard<'_, Vec<Arc<Queue>>> {
        lock(&self.0)
    }
}
