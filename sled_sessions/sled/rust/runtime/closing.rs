//! Closing a database, at once although Python still holds trees and iterators, and in a bounded time at exit.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{
        Arc,
        atomic::Ordering::Relaxed,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    disk::{end::note_end, files::LOCK_PATIENCE, regular::open_file},
    error::{Error, Failure, Result},
    runtime::{
        allocator,
        engine::{Database, Engine, engines, forget},
        fork, guard,
        locks::{lock, write},
    },
};

/// How long `close()` waits for sled's I/O threads to release the folder.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the interpreter's exit waits for a transaction's function.
const EXIT_TIMEOUT: Duration = Duration::from_secs(2);

impl Engine {
    /// Flush, drop everything, and return when the folder is free. The lock is held throughout, so that a concurrent
    /// `close()` returns no earlier than this one.
    pub fn close(&self) -> Result<()> {
        fork::check_process()?;
        if self.abandoned.load(Relaxed) {
            return Ok(());
        }
        self.closed.store(true, Relaxed);
        let mut slot = write(&self.database);
        let Some(database) = slot.take() else { return Ok(()) };
        // The handles first: running calls end before the flush, and none starts after it.
        for handle in lock(&self.handles).drain(..).filter_map(|handle| handle.upgrade()) {
            let tree = write(&handle.tree).take();
            drop(tree);
        }
        let flushed = guard::catch(|| {
            self.health.check_writable()?;
            self.health.examine(self.flush_database(&database, true)).map_err(|error| error.at(&self.path))
        });
        let Database { db, claim, .. } = database;
        let failure = self.health.failure();
        self.health.release();
        let dropped = guard::catch(|| drop_database(db, failure.is_some()));
        let is_free = self.wait_until_free();
        if flushed.is_ok() && !self.temporary {
            note_end(&self.path);
        }
        match failure {
            Some(failure) if !is_free => claim.keep(Failure { needs_restart: true, ..failure }),
            _ => drop(claim),
        }
        forget(self);
        allocator::release_unused();
        flushed.and(dropped)
    }

    /// Close where no caller can catch an error. It means that data is lost, so it is printed.
    pub fn close_unattended(&self) {
        self.report(guard::catch(|| self.close()));
    }

    fn report(&self, outcome: Result<()>) {
        if let Err(error) = outcome {
            guard::report(error, &format!("closing the database {}", self.path.display()));
        }
    }

    /// Close, unless a transaction's function is running, which may never end: then the database is left as a kill
    /// would leave it. sled writes nothing of a transaction before its function returns.
    fn close_at_exit(self: Arc<Self>) {
        let (sender, receiver) = mpsc::channel();
        let engine = self.clone();
        let closing = move || {
            let _ = sender.send(guard::catch(|| engine.close()));
        };
        if thread::Builder::new().spawn(closing).is_err() {
            return self.close_unattended();
        }
        let mut before = guard::running_transaction();
        let outcome = loop {
            match receiver.recv_timeout(EXIT_TIMEOUT) {
                Ok(outcome) => break outcome,
                Err(RecvTimeoutError::Disconnected) => break Ok(()), // impossible: `catch` always returns
                Err(RecvTimeoutError::Timeout) => {
                    let now = guard::running_transaction();
                    if now.is_none() || now != before {
                        before = now;
                        continue;
                    }
                    self.abandoned.store(true, Relaxed);
                    break Err(Error::Misuse(format!(
                        "{} is left as a kill would leave it: a transaction's function is still running",
                        self.path.display()
                    )));
                }
            }
        };
        self.report(outcome);
    }

    /// sled's I/O threads may hold the last references for some microseconds more.
    fn wait_until_free(&self) -> bool {
        let began = Instant::now();
        let timeout = || if self.is_held_here() { RELEASE_TIMEOUT } else { LOCK_PATIENCE };
        while !self.is_free() {
            if began.elapsed() >= timeout() {
                return false;
            }
            thread::sleep(Duration::from_micros(100));
        }
        true
    }

    /// Whether this process has a descriptor of the file `db`. If not, another process holds the lock.
    fn is_held_here(&self) -> bool {
        let identity = |path: &Path| fs::metadata(path).map(|file| (file.dev(), file.ino())).ok();
        let file = identity(&self.path.join("db"));
        match fs::read_dir("/dev/fd") {
            Ok(mut descriptors) if !self.temporary => {
                descriptors.any(|entry| entry.is_ok_and(|entry| identity(&entry.path()) == file))
            }
            _ => true,
        }
    }

    fn is_free(&self) -> bool {
        if self.temporary {
            return !self.path.join("db").exists(); // the folder itself may be impossible to remove
        }
        match open_file(&self.path.join("db")) {
            Ok(file) => file.try_lock().is_ok(),
            Err(_) => true,
        }
    }
}

/// Drop the database. sled waits for ever for a thread that has panicked, so it is left if it has failed and takes long.
fn drop_database(db: sled::Db, has_failed: bool) -> Result<()> {
    if !has_failed {
        drop(db);
        return Ok(());
    }
    let (sender, receiver) = mpsc::channel();
    let dropping = move || {
        guard::discard_panic(|| drop(db));
        let _ = sender.send(());
    };
    thread::Builder::new().spawn(dropping).map_err(sled::Error::from)?;
    let _ = receiver.recv_timeout(RELEASE_TIMEOUT);
    Ok(())
}

/// Close every open database; called when the interpreter exits.
pub fn close_all() {
    engines().into_iter().for_each(Engine::close_at_exit);
}
