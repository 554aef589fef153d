//! An open database and its trees.
//!
//! sled releases the folder's lock when the last reference to any part of the database is gone. `close()` must release
//! it at once although Python still holds trees and iterators, so Python objects never own a part of sled: they own a
//! `TreeHandle`, whose content `close()` takes away. Iterators own nothing; they seek again for each chunk.

use std::{
    collections::{HashMap, hash_map::Entry},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use pyo3::{Py, types::PyWeakrefReference};
use rustix::io::Errno;

use crate::{
    disk::{
        blobs::Blobs,
        conf::{SEGMENT_SIZE, stored_segment_size},
        private::Mode,
        snapshots,
    },
    error::{At, Error, Result},
    runtime::{
        DEFAULT_TREE,
        claims::Claim,
        events::{Hub, Queue},
        fork, guard,
        health::{Health, copy},
        ids::Ids,
        locks::{lock, read, write},
        monitor,
    },
};

/// Every database that is not closed yet.
static ENGINES: Mutex<Vec<Weak<Engine>>> = Mutex::new(Vec::new());

pub struct Engine {
    pub(super) path: PathBuf,
    pub(super) temporary: bool,
    /// Set before `database` is emptied. Asking `database` itself would wait for whatever `close()` waits for.
    pub(super) closed: AtomicBool,
    /// The interpreter's exit has stopped waiting for this database.
    pub(super) abandoned: AtomicBool,
    pub(super) health: Health,
    pub(super) database: RwLock<Option<Database>>,
    pub(super) handles: Mutex<Vec<Weak<TreeHandle>>>,
    /// By the tree's name.
    hubs: Mutex<HashMap<Vec<u8>, Arc<Hub>>>,
    pub ids: Ids,
    /// A weak reference to Python's `Db`.
    pub object: OnceLock<Py<PyWeakrefReference>>,
}

pub(super) struct Database {
    pub(super) db: sled::Db,
    blobs: Blobs,
    mode: Mode,
    pub(super) claim: Claim,
}

/// A tree for as long as its database is open.
pub struct TreeHandle {
    engine: Arc<Engine>,
    name: Vec<u8>,
    pub(super) tree: RwLock<Option<sled::Tree>>,
}

impl Engine {
    pub fn new(db: sled::Db, path: PathBuf, temporary: bool, claim: Claim) -> Result<Arc<Self>> {
        let health = Health::new(&db, &path).at(&path)?;
        let blobs = Blobs::of(&path);
        let _ = health.file().and_then(|file| blobs.remove_unused(&file)); // what stays is removed by the next opening
        let mode = Mode::of(&path).at(&path)?;
        snapshots::restrict(&path, mode).at(&path)?;
        let ids = Ids::new(&path, mode, db.was_recovered());
        let engine = Arc::new(Engine {
            path,
            temporary,
            closed: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            health,
            database: RwLock::new(Some(Database { db, blobs, mode, claim })),
            handles: Mutex::default(),
            hubs: Mutex::default(),
            ids,
            object: OnceLock::new(),
        });
        push_weak(&mut lock(&ENGINES), &engine);
        monitor::start();
        Ok(engine)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn is_temporary(&self) -> bool {
        self.temporary
    }

    pub fn health(&self) -> &Health {
        &self.health
    }

    pub fn check_open(&self) -> Result<()> {
        if self.closed.load(Relaxed) { Err(self.closed_error()) } else { Ok(()) }
    }

    fn closed_error(&self) -> Error {
        Error::Closed(format!("the database {} is closed: open it again with sled.open()", self.path.display()))
    }

    /// Read from the database, which cannot be closed meanwhile.
    pub fn with<T>(&self, work: impl FnOnce(&sled::Db) -> Result<T>) -> Result<T> {
        self.with_database(|database| work(&database.db))
    }

    /// Write to the database. Fails if it has failed before, or while this runs.
    pub fn write<T>(&self, work: impl FnOnce(&sled::Db) -> Result<T>) -> Result<T> {
        self.health.check_writable()?;
        let outcome = self.with(work)?;
        self.health.check_writable().map(|()| outcome)
    }

    fn with_database<T>(&self, work: impl FnOnce(&Database) -> Result<T>) -> Result<T> {
        self.check_open()?; // before waiting for a `close()` that may never end
        match &*read(&self.database) {
            Some(database) => self.health.examine(work(database)).map_err(|error| error.at(&self.path)),
            None => Err(self.closed_error()),
        }
    }

    /// Write everything to the file and, with `fsync`, wait for the disk. sled's own flush leaves that to the kernel.
    pub fn flush(&self, fsync: bool) -> Result<usize> {
        fork::check_process()?;
        self.health.check_writable()?;
        self.with_database(|database| self.flush_database(database, fsync))
    }

    pub(super) fn flush_database(&self, database: &Database, fsync: bool) -> Result<usize> {
        let sync_blobs = || self.synced(database.blobs.sync(database.mode)).at(&self.path.join("blobs"));
        if fsync {
            sync_blobs()?; // before the log that names them
        }
        let written = self.health.waiting(|| database.db.flush())?;
        if fsync {
            sync_blobs()?; // other threads may have written some meanwhile
            self.synced(self.health.file().and_then(|file| file.sync_all())).at(&self.path.join("db"))?;
        }
        self.health.check_writable().map(|()| written)
    }

    /// After a failed fsync the kernel may take lost pages for written ones, so that a later fsync succeeds without
    /// them.
    fn synced(&self, outcome: io::Result<()>) -> io::Result<()> {
        let too_many_files =
            |error: &io::Error| matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE));
        outcome.inspect_err(|error| {
            if !too_many_files(error) {
                self.health.fail(copy(error));
            }
        })
    }

    /// The bytes of all blobs, and of those that no page refers to.
    pub fn blob_sizes(&self) -> Result<(u64, u64)> {
        self.with_database(|database| {
            let segment_size = stored_segment_size(&self.path)?.unwrap_or(SEGMENT_SIZE);
            database.blobs.sizes(segment_size).at(&self.path)
        })
    }

    pub fn handle(self: &Arc<Self>, tree: sled::Tree) -> Arc<TreeHandle> {
        let name = tree.name().to_vec();
        let handle = Arc::new(TreeHandle { engine: self.clone(), name, tree: RwLock::new(Some(tree)) });
        push_weak(&mut lock(&self.handles), &handle);
        handle
    }

    /// Remove a tree once no call is using it: sled's removal may never return beside a thread that removes keys, and a
    /// running transaction would be written in part. sled's removal does not return either if a crash has left pages
    /// half merged, so all pages are read first, which completes the merges. Watchers get the events that are on their
    /// way.
    pub fn drop_tree(&self, name: &[u8]) -> Result<bool> {
        self.write(|db| {
            let exists = || db.tree_names().iter().any(|it| it == name);
            if name != DEFAULT_TREE && exists() {
                match db.open_tree(name)?.iter().keys().try_for_each(|key| key.map(drop)) {
                    Err(sled::Error::Corruption { .. }) | Ok(()) => {} // a damaged tree can be dropped too
                    Err(error) => return Err(error.into()),
                }
            }
            let mut hubs = lock(&self.hubs);
            let handles = lock(&self.handles);
            let of_tree: Vec<_> = handles.iter().filter_map(Weak::upgrade).filter(|it| it.name == name).collect();
            let mut slots: Vec<_> = of_tree.iter().map(|handle| write(&handle.tree)).collect();
            let dropped = match db.drop_tree(name) {
                Err(sled::Error::Corruption { .. }) if !exists() => true, // some of its pages could not be freed
                outcome => outcome?,
            };
            slots.iter_mut().for_each(|slot| drop(slot.take()));
            hubs.remove(name);
            Ok(dropped)
        })
    }
}

impl TreeHandle {
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Send the tree's events to `queue` from now on.
    pub fn watch(&self, queue: Arc<Queue>) -> Result<()> {
        let mut hubs = lock(&self.engine.hubs);
        self.with(|tree| {
            tree.contains_key([])?; // fails for a dropped tree, which sled itself would silently watch
            let hub = match hubs.entry(self.name.clone()) {
                Entry::Occupied(hub) => hub.into_mut(),
                Entry::Vacant(place) => place.insert(Hub::start(tree)?),
            };
            hub.add(queue);
            Ok(())
        })
    }

    /// Read from the tree. Meanwhile neither can the tree be dropped nor the database be closed.
    #[inline]
    pub fn with<T>(&self, work: impl FnOnce(&sled::Tree) -> Result<T>) -> Result<T> {
        let held = self.hold()?;
        self.engine.health.examine(work(self.living(&held)?)).map_err(|error| error.at(&self.engine.path))
    }

    /// Write to the tree. Fails if the database has failed before, or while this runs.
    #[inline]
    pub fn write<T>(&self, work: impl FnOnce(&sled::Tree) -> Result<T>) -> Result<T> {
        self.engine.health.check_writable()?;
        let outcome = self.with(work)?;
        self.engine.health.check_writable().map(|()| outcome)
    }

    /// Keep the tree, if it still exists, from being dropped.
    pub fn hold(&self) -> Result<RwLockReadGuard<'_, Option<sled::Tree>>> {
        self.engine.check_open()?; // before waiting for a `close()` that may never end
        Ok(read(&self.tree))
    }

    /// The tree that is held, unless it was dropped or its database closed.
    pub fn living<'a>(&self, held: &'a Option<sled::Tree>) -> Result<&'a sled::Tree> {
        held.as_ref().ok_or_else(|| {
            let dropped = || Error::Sled(sled::Error::CollectionNotFound(self.name.as_slice().into()));
            self.engine.check_open().err().unwrap_or_else(dropped)
        })
    }
}

impl Drop for TreeHandle {
    fn drop(&mut self) {
        // Dropping a clone of an existing tree is quick; dropping the last clone of a removed tree flushes.
        if let Some(tree) = self.tree.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            guard::release(tree);
        }
    }
}

/// Every database that is not closed yet, those that are being closed included.
pub fn engines() -> Vec<Arc<Engine>> {
    lock(&ENGINES).iter().filter_map(Weak::upgrade).collect()
}

/// Leave out a database that is closed.
pub(super) fn forget(closed: &Engine) {
    lock(&ENGINES).retain(|engine| !std::ptr::eq(engine.as_ptr(), closed));
}

/// Every open database, in the order of opening.
pub fn all() -> Vec<Arc<Engine>> {
    engines().into_iter().filter(|engine| engine.check_open().is_ok()).collect()
}

/// Append a weak reference. Dead ones are removed before the list would grow, so it stays proportional to the live
/// ones.
fn push_weak<T>(list: &mut Vec<Weak<T>>, item: &Arc<T>) {
    if list.len() == list.capacity() {
        list.retain(|weak| weak.strong_count() > 0);
    }
    list.push(Arc::downgrade(item));
}
