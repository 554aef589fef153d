//! An open database and who still refers to it.
//!
//! sled gives the folder's lock back when the last reference to anything of the database is gone. `close()` must do so
//! at once while Python still holds trees and iterators, so Python objects never own a part of sled: they own a
//! `Handle` whose content `close()` takes away. Iterators own nothing, they seek again for each chunk.

use std::{
    collections::{HashMap, hash_map::Entry},
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use pyo3::prelude::*;

use crate::{
    blobs::Blobs,
    creation::CREATING,
    db::DEFAULT_TREE,
    error::{Error, Result},
    files::{OTHERS_TIMEOUT, at},
    guard,
    locks::{lock, read, try_lock, write},
    log,
    watch::{Hub, Queue},
};

/// How long `close()` waits for sled's I/O threads to let go of the folder.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the interpreter's exit waits for a transaction's function.
const EXIT_TIMEOUT: Duration = Duration::from_secs(2);

/// Every database that holds its folder.
static ENGINES: Mutex<Vec<Weak<Engine>>> = Mutex::new(Vec::new());

/// The folders that threads of this process are about to open.
static OPENING: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

pub struct Engine {
    path: PathBuf,
    temporary: bool,
    /// Set before `open` is emptied: asking `open` itself would wait for whatever `close()` waits for.
    closed: AtomicBool,
    /// The interpreter's exit has given up to close it.
    given_up: AtomicBool,
    open: RwLock<Option<Open>>,
    handles: Mutex<Vec<Weak<Handle>>>,
    /// By the tree's name.
    hubs: Mutex<HashMap<Vec<u8>, Arc<Hub>>>,
}

struct Open {
    db: sled::Db,
    /// The database's file once more, for fsync: sled does not hand out its own.
    file: File,
    blobs: Blobs,
}

/// A tree as long as its database is open.
pub struct Handle {
    engine: Arc<Engine>,
    name: Vec<u8>,
    tree: RwLock<Option<sled::Tree>>,
}

impl Engine {
    pub fn new(db: sled::Db, path: PathBuf, temporary: bool) -> Result<Arc<Self>> {
        let file = File::open(path.join("db")).map_err(|error| at(error, &path))?;
        let blobs = Blobs::of(&path);
        let engine = Arc::new(Engine {
            path,
            temporary,
            closed: AtomicBool::new(false),
            given_up: AtomicBool::new(false),
            open: RwLock::new(Some(Open { db, file, blobs })),
            handles: Mutex::default(),
            hubs: Mutex::default(),
        });
        remember(&mut lock(&ENGINES), &engine);
        Ok(engine)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn check_open(&self) -> Result<()> {
        if self.closed.load(Relaxed) { Err(self.closed()) } else { Ok(()) }
    }

    fn closed(&self) -> Error {
        Error::Closed(format!("the database {} is closed: open it again with sled.open()", self.path.display()))
    }

    /// Run `work` on the database; it cannot be closed meanwhile.
    pub fn with<T>(&self, work: impl FnOnce(&sled::Db) -> Result<T>) -> Result<T> {
        self.with_open(|open| work(&open.db))
    }

    fn with_open<T>(&self, work: impl FnOnce(&Open) -> Result<T>) -> Result<T> {
        self.check_open()?; // before it waits for a `close()` that may never end
        match &*read(&self.open) {
            Some(open) => work(open).map_err(|error| error.at(&self.path)),
            None => Err(self.closed()),
        }
    }

    /// Write everything to the file and, with `fsync`, wait for the disk: sled's own flush leaves it to the kernel.
    pub fn flush(&self, fsync: bool) -> Result<usize> {
        guard::check_process()?;
        self.with_open(|open| self.flush_open(open, fsync))
    }

    fn flush_open(&self, open: &Open, fsync: bool) -> Result<usize> {
        let sync_blobs = || open.blobs.sync().map_err(|error| at(error, &self.path.join("blobs")));
        if fsync {
            sync_blobs()?; // first: what the log names must be there
        }
        let written = open.db.flush()?;
        if fsync {
            sync_blobs()?; // others may have written some meanwhile
            open.file.sync_all().map_err(|error| at(error, &self.path.join("db")))?;
        }
        Ok(written)
    }

    pub fn handle(self: &Arc<Self>, tree: sled::Tree) -> Arc<Handle> {
        let name = tree.name().to_vec();
        let handle = Arc::new(Handle { engine: self.clone(), name, tree: RwLock::new(Some(tree)) });
        remember(&mut lock(&self.handles), &handle);
        handle
    }

    /// Remove a tree, while no call is at work on it: a removal beside it may never return, and a transaction that had
    /// begun would be written in part. Nor does sled's own removal return where a crash has left pages half merged, so
    /// all are read first, which ends the merge. Watchers get what is on its way to them, and those of a new tree of
    /// that name start afresh.
    pub fn drop_tree(&self, name: &[u8]) -> Result<bool> {
        self.with(|db| {
            let is_there = || db.tree_names().iter().any(|it| it == name);
            if name != DEFAULT_TREE && is_there() {
                match db.open_tree(name)?.iter().keys().try_for_each(|key| key.map(drop)) {
                    Err(sled::Error::Corruption { .. }) | Ok(()) => {} // what is damaged may go as well
                    Err(error) => return Err(error.into()),
                }
            }
            let mut hubs = lock(&self.hubs);
            let handles = lock(&self.handles);
            let of_tree: Vec<_> = handles.iter().filter_map(Weak::upgrade).filter(|it| it.name == name).collect();
            let mut slots: Vec<_> = of_tree.iter().map(|handle| write(&handle.tree)).collect();
            let dropped = match db.drop_tree(name) {
                Err(sled::Error::Corruption { .. }) if !is_there() => true, // some of its pages could not be freed
                outcome => outcome?,
            };
            slots.iter_mut().for_each(|slot| drop(slot.take()));
            hubs.remove(name);
            Ok(dropped)
        })
    }

    /// Flush, let go of everything, and return when the folder is free. The lock is held all the while, so that a
    /// second `close()` returns no earlier than the first.
    pub fn close(&self) -> Result<()> {
        guard::check_process()?;
        if self.given_up.load(Relaxed) {
            return Ok(());
        }
        self.closed.store(true, Relaxed);
        let mut slot = write(&self.open);
        let Some(open) = slot.take() else { return Ok(()) };
        // The handles first: calls that are running in other threads end before the flush, and none starts after it.
        for handle in lock(&self.handles).drain(..).filter_map(|handle| handle.upgrade()) {
            let tree = write(&handle.tree).take();
            drop(tree);
        }
        let flushed = guard::catch(|| self.flush_open(&open, true).map_err(|error| error.at(&self.path)));
        if flushed.is_ok() && !self.temporary {
            log::note_end(&self.path);
        }
        let dropped = guard::catch(|| {
            drop(open);
            Ok(())
        });
        self.wait_until_free();
        lock(&ENGINES).retain(|engine| !std::ptr::eq(engine.as_ptr(), self));
        flushed.and(dropped)
    }

    /// Close where nobody could catch an error, which is printed instead: what it says is that data is lost.
    pub fn close_unattended(&self) {
        self.report(guard::catch(|| self.close()));
    }

    fn report(&self, outcome: Result<()>) {
        if let Err(error) = outcome {
            guard::report(error, &format!("closing the database {}", self.path.display()));
        }
    }

    /// Close, unless a transaction's function is running, which may be for ever: then it is left as a kill would leave it.
    /// sled writes nothing before the function has returned.
    fn close_at_exit(self: Arc<Self>) {
        let (tell, hear) = mpsc::channel();
        let engine = self.clone();
        let closing = move || {
            let _ = tell.send(guard::catch(|| engine.close()));
        };
        if thread::Builder::new().spawn(closing).is_err() {
            return self.close_unattended();
        }
        let mut before = guard::running_transaction();
        let outcome = loop {
            match hear.recv_timeout(EXIT_TIMEOUT) {
                Ok(outcome) => break outcome,
                Err(RecvTimeoutError::Disconnected) => break Ok(()), // which cannot be: `catch` always returns
                Err(RecvTimeoutError::Timeout) => {
                    let now = guard::running_transaction();
                    if now.is_none() || now != before {
                        before = now;
                        continue;
                    }
                    self.given_up.store(true, Relaxed);
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
    fn wait_until_free(&self) {
        let began = Instant::now();
        let timeout = || if self.is_held_here() { RELEASE_TIMEOUT } else { OTHERS_TIMEOUT };
        while !self.is_free() && began.elapsed() < timeout() {
            thread::sleep(Duration::from_micros(100));
        }
    }

    /// Whether a descriptor of this process is open on the database's file; if none is, somebody else has the lock.
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
            return !self.path.join("db").exists(); // the folder may be one that cannot be removed
        }
        match File::open(self.path.join("db")) {
            Ok(file) => file.try_lock().is_ok(),
            Err(_) => true,
        }
    }
}

impl Handle {
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Let `queue` have the tree's events from now on.
    pub fn watch(&self, queue: Arc<Queue>) -> Result<()> {
        let mut hubs = lock(&self.engine.hubs);
        self.with(|tree| {
            // sled would watch a dropped tree without a word.
            tree.contains_key([])?;
            let hub = match hubs.entry(self.name.clone()) {
                Entry::Occupied(hub) => hub.into_mut(),
                Entry::Vacant(place) => place.insert(Hub::start(tree)?),
            };
            hub.add(queue);
            Ok(())
        })
    }

    /// Run `work` on the tree; it cannot be dropped meanwhile, nor the database be closed.
    #[inline]
    pub fn with<T>(&self, work: impl FnOnce(&sled::Tree) -> Result<T>) -> Result<T> {
        let held = self.hold()?;
        work(self.living(&held)?).map_err(|error| error.at(&self.engine.path))
    }

    /// The tree for as long as this is kept, if it is there.
    pub fn hold(&self) -> Result<RwLockReadGuard<'_, Option<sled::Tree>>> {
        self.engine.check_open()?; // before it waits for a `close()` that may never end
        Ok(read(&self.tree))
    }

    /// The tree that was held, unless it has been closed or dropped.
    pub fn living<'a>(&self, held: &'a Option<sled::Tree>) -> Result<&'a sled::Tree> {
        held.as_ref().ok_or_else(|| {
            let dropped = || Error::Sled(sled::Error::CollectionNotFound(self.name.as_slice().into()));
            self.engine.check_open().err().unwrap_or_else(dropped)
        })
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // A clone of a living tree goes at once; the last clone of a dropped tree flushes.
        if let Some(tree) = self.tree.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            guard::release(tree);
        }
    }
}

/// A folder that no other thread of this process may open just now.
pub struct Opening(PathBuf);

impl Opening {
    /// None if another thread is at it.
    pub fn begin(path: &Path) -> Option<Self> {
        let mut opening = lock(&OPENING);
        if opening.iter().any(|other| other == path) {
            return None;
        }
        opening.push(path.to_owned());
        Some(Opening(path.to_owned()))
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        lock(&OPENING).retain(|path| *path != self.0);
    }
}

/// Is this folder open in this process?
pub fn open_here(path: &Path) -> bool {
    lock(&ENGINES).iter().filter_map(Weak::upgrade).any(|engine| engine.path == path)
}

/// The files that the parent has locked. For a forked child, where a mutex that another thread held stays locked for
/// ever, and no thread is opening anything.
pub fn locked_files_of_parent() -> Vec<PathBuf> {
    let mut folders = try_lock(&OPENING).map_or_else(Vec::new, |mut opening| std::mem::take(&mut *opening));
    if let Some(engines) = try_lock(&ENGINES) {
        folders.extend(engines.iter().filter_map(Weak::upgrade).map(|engine| engine.path.clone()));
    }
    folders.iter().flat_map(|folder| [folder.join("db"), folder.join(CREATING)]).collect()
}

// Close whatever is still open; run when the interpreter exits.
#[doc = doc!("close_all")]
#[pyfunction]
pub fn close_all(py: Python<'_>) {
    if guard::check_process().and(guard::check()).is_err() {
        return;
    }
    let engines: Vec<_> = lock(&ENGINES).iter().filter_map(Weak::upgrade).collect();
    py.detach(|| {
        for engine in engines {
            engine.close_at_exit();
        }
    });
}

/// Append to a list of weak references, sweeping it whenever it would grow, so that it stays in proportion.
fn remember<T>(list: &mut Vec<Weak<T>>, item: &Arc<T>) {
    if list.len() == list.capacity() {
        list.retain(|weak| weak.strong_count() > 0);
    }
    list.push(Arc::downgrade(item));
}
