//! An open database of sled 1.0.
//!
//! Traps of 1.0.0-alpha.124, each of them tried, and what is done about them here:
//! - Its flush thread aborts the process when a write fails. It is never started; we flush.
//! - It keeps all leaves that it has touched in memory, whatever its cache's capacity. The database is reopened after
//!   each `REOPEN_BYTES`.
//! - Opening a damaged folder panics, and unwinding then waits for ever for a thread that was never started. So it is
//!   opened in a separate thread, which is left behind with the folder's locks if it panics.
//! - Damaged metadata is taken for the metadata's end. `metadata` checks it first.
//! - If a leaf is missing, reading waits for it for ever. So each call runs in a separate thread that Ctrl-C leaves
//!   behind.
//! - `Db::export` omits the default tree, and `import` turns 0.34's into an ordinary tree. Here the default tree has
//!   0.34's name for it in either format.

use std::{
    fs, io,
    ops::Bound::{self, Unbounded},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use sled_v1::InlineArray;

use crate::{
    disk::{
        creation::prepare_folder,
        files::{is_v1, locked, retry_while_locked},
        private::Mode,
        regular::{Layout, check_layout},
    },
    error::{At, Error, Result},
    runtime::{
        CHUNK_BYTES, DEFAULT_TREE,
        claims::{self, Claim, FolderKey},
        fork, guard,
        locks::{lock, try_lock},
    },
    v1::{damaged_v1, metadata::check_metadata},
};

const REOPEN_BYTES: usize = 16 << 20;

/// Fixed when the folder is created; this is 1.0's default, which `sled::open` expects.
const LEAF_FANOUT: usize = 1024;

/// How long `close()` waits for the rest of a call that was interrupted.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);

const V1_0: Layout = Layout {
    is_file: |name| matches!(name, "durability_cookie" | "DO_NOT_PUT_YOUR_FILES_HERE"),
    folders: &["metadata", "slabs"],
    has_holes: true,
};

type V1Db = sled_v1::Db<LEAF_FANOUT>;
type V1Tree = sled_v1::Tree<LEAF_FANOUT>;
type V1Pair = (InlineArray, InlineArray);

pub struct V1Database {
    path: PathBuf,
    usage: Mutex<Usage>,
    /// A call was interrupted, and may be running for ever.
    interrupted: AtomicBool,
}

/// `claimed` is None when the database was closed, or could not be reopened.
struct Usage {
    claimed: Option<ClaimedDb>,
    touched: usize,
}

pub struct ClaimedDb {
    db: V1Db,
    _claim: Claim,
}

impl V1Database {
    pub fn open(path: &Path) -> Result<Self> {
        // sled 1.0 would make an empty database beside the files of 0.34.
        if !is_v1(path) && ["conf", "db"].iter().any(|file| path.join(file).exists()) {
            return Err(Error::unsupported(format!(
                "{} was written by sled 0.34, whose format 1.0 cannot read: import the export of its sled.Db into a \
                 new database",
                path.display()
            )));
        }
        fork::claim_process()?;
        // Absolute, because the program may change its directory before the folder is reopened.
        let path = prepare_folder(path, false, Mode::PRIVATE)?;
        let usage = Mutex::new(Usage { claimed: Some(open_claimed(&path)?), touched: 0 });
        Ok(V1Database { path, usage, interrupted: AtomicBool::new(false) })
    }

    /// The names of all trees, sorted.
    pub fn tree_names(self: &Arc<Self>) -> Result<Vec<Vec<u8>>> {
        let mut names: Vec<_> =
            self.call(|_, db| Ok((db.export().into_iter().map(|(_, name, _)| name).collect(), 0)))?;
        names.push(DEFAULT_TREE.to_vec());
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    /// The first pairs from `start` on, at most `limit`.
    pub fn read(self: &Arc<Self>, tree: Vec<u8>, start: Bound<Vec<u8>>, limit: usize) -> Result<Vec<V1Pair>> {
        self.call(move |this, db| {
            let tree = this.tree_to_read(db, &tree)?;
            let (mut pairs, mut size) = (Vec::new(), 0);
            for pair in tree.range::<Vec<u8>, _>((start, Unbounded)).take(limit) {
                let (key, value) = this.checked(pair)?;
                size += key.len() + value.len();
                pairs.push((key, value));
                if size > CHUNK_BYTES {
                    break;
                }
            }
            Ok((pairs, size))
        })
    }

    /// Insert pairs whose keys do not exist yet.
    pub fn insert_new(self: &Arc<Self>, tree: Vec<u8>, pairs: Vec<V1Pair>) -> Result<()> {
        self.call(move |this, db| {
            let tree = this.tree_to_write(db, &tree)?;
            let mut size = 0;
            for (key, value) in pairs {
                size += key.len() + value.len();
                if this.checked(tree.contains_key(&key))? {
                    return Err(Error::import_conflict(&format!("database {}", this.path.display())));
                }
                this.checked(tree.insert(key, value))?;
            }
            Ok(((), size))
        })
    }

    /// Run `work`, which also returns how many bytes it has touched. Ctrl-C ends it for the caller.
    fn call<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self, &V1Db) -> Result<(T, usize)> + Send + 'static,
    ) -> Result<T> {
        if self.interrupted.load(Relaxed) {
            return Err(Error::Closed(format!(
                "Ctrl-C has ended a call of the database {}: close it, and open it again with v1.Db()",
                self.path.display()
            )));
        }
        let this = self.clone();
        let outcome = guard::call_interruptibly(move || this.run(work));
        if let Err(Error::Python(_)) = outcome {
            self.interrupted.store(true, Relaxed);
        }
        outcome
    }

    fn run<T>(&self, work: impl FnOnce(&Self, &V1Db) -> Result<(T, usize)>) -> Result<T> {
        let mut usage = lock(&self.usage);
        let claimed = usage.claimed.as_ref().ok_or_else(|| {
            Error::Closed(format!("the database {} is closed: open it again with v1.Db()", self.path.display()))
        })?;
        let (answer, size) = work(self, &claimed.db)?;
        usage.touched += size;
        if self.interrupted.load(Relaxed) {
            self.flush_and_drop(&mut usage)?; // `close()` may have given up waiting for this
        } else if usage.touched > REOPEN_BYTES {
            self.flush_and_drop(&mut usage)?;
            *usage = Usage { claimed: Some(open_claimed(&self.path)?), touched: 0 };
        }
        Ok(answer)
    }

    pub fn close(self: &Arc<Self>) -> Result<()> {
        if !self.interrupted.load(Relaxed) {
            return self.flush_and_drop(&mut lock(&self.usage));
        }
        let this = self.clone();
        guard::call_interruptibly(move || {
            let began = Instant::now();
            while began.elapsed() < RELEASE_TIMEOUT {
                if let Some(mut usage) = try_lock(&this.usage) {
                    return this.flush_and_drop(&mut usage);
                }
                thread::sleep(Duration::from_millis(1));
            }
            Err(Error::Misuse(format!(
                "a call that Ctrl-C has ended is still running in sled 1.0, and keeps {} locked until it or the \
                 process ends",
                this.path.display()
            )))
        })
    }

    fn flush_and_drop(&self, usage: &mut Usage) -> Result<()> {
        match usage.claimed.take() {
            Some(claimed) => self.checked(claimed.db.flush()).map(drop),
            None => Ok(()),
        }
    }

    /// The open database, to be dropped without a flush; None if it is closed or a call is still running.
    pub fn take(&self) -> Option<ClaimedDb> {
        try_lock(&self.usage)?.claimed.take()
    }

    /// The tree of this name, created if it is missing.
    fn tree_to_write(&self, db: &V1Db, name: &[u8]) -> Result<V1Tree> {
        if name == DEFAULT_TREE { Ok((**db).clone()) } else { self.checked(db.open_tree(name)) }
    }

    /// The tree of this name. After 1.0's own `import`, 0.34's default tree is an ordinary tree of the same name.
    fn tree_to_read(&self, db: &V1Db, name: &[u8]) -> Result<V1Tree> {
        if name != DEFAULT_TREE || !self.checked(db.contains_tree(name))? {
            return self.tree_to_write(db, name);
        }
        let (own, named) = ((**db).clone(), self.checked(db.open_tree(name))?);
        if self.checked(named.is_empty())? {
            Ok(own)
        } else if self.checked(own.is_empty())? {
            Ok(named)
        } else {
            Err(Error::unsupported(format!(
                "{} has a default tree and another tree named __sled__default: remove one of them",
                self.path.display()
            )))
        }
    }

    fn checked<T>(&self, outcome: io::Result<T>) -> Result<T> {
        outcome.or_else(|error| explain_v1(error, &self.path))
    }
}

fn open_claimed(path: &Path) -> Result<ClaimedDb> {
    let folder = fs::metadata(path).at(path)?;
    let key = FolderKey::Inode(folder.dev(), folder.ino());
    let claim = Claim::begin(key.clone(), path, [".", "metadata"])?;
    check_layout(path, &V1_0)?;
    let (folder, config) = (path.to_owned(), sled_v1::Config::new().path(path).flush_every_ms(None));
    let opened = guard::call_interruptibly(move || {
        check_metadata(&folder)?;
        let db = retry_while_locked(|| config.open().or_else(|error| explain_v1(error, &folder)))?;
        Ok(ClaimedDb { db, _claim: claim })
    });
    match opened {
        Err(Error::Panic(what)) => {
            let error = broken(path, &what);
            if let Error::Damaged(why) = &error {
                let why = why.clone();
                claims::refuse(&key, move || Error::Damaged(why.clone()));
            }
            Err(error)
        }
        other => other,
    }
}

fn explain_v1<T>(error: io::Error, path: &Path) -> Result<T> {
    match error.kind() {
        io::ErrorKind::WouldBlock => Err(locked(path)),
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Err(broken(path, &error.to_string())),
        _ => Err(error).at(path),
    }
}

fn broken(path: &Path, what: &str) -> Error {
    damaged_v1(path, &format!("sled 1.0 could not read one of its files: {what}"))
}
