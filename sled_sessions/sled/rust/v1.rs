//! The other format: as much of sled 1.0 as it takes to move whole trees between its folders and those of 0.34.
//!
//! What 1.0.0-alpha.124 does, and what is done about it here (each was tried):
//! - Its flush thread aborts the process when a write fails. It is never started; we flush.
//! - It keeps the memory of all leaves it has touched, whatever its cache's capacity. The database is opened anew after
//!   each `REOPEN_BYTES`.
//! - Opening a damaged folder panics, and what the panic drops then waits for ever for a thread that was not started yet.
//!   So it is opened in a thread that is left behind when it panics, with the folder's locks.
//! - Damaged metadata is taken for its end. `v1_log` looks for it first.
//! - Where a leaf is missing, reading waits for it for ever. So each call is made in a thread, too, that Ctrl-C leaves
//!   behind.
//! - `Db::export` leaves the default tree out, and `import` makes an ordinary tree of 0.34's. Here 0.34's name for it
//!   stands for the default tree of either.

use std::{
    collections::BTreeMap,
    fs, io,
    ops::Bound::{Excluded, Unbounded},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use pyo3::{prelude::*, types::PyBytes};
use sled_v1::InlineArray;

use crate::{
    buffer::{self, CHUNK_BYTES, Data, Name},
    db::{DEFAULT_TREE, NOT_EMPTY},
    error::{Error, Result},
    files::{at, is_v1, locked, locked_here, patiently, prepare},
    guard,
    locks::{lock, try_lock},
    v1_log::{self, damaged},
};

const REOPEN_BYTES: usize = 16 << 20;

/// Fixed in the folder when it is made; this is 1.0's default, which `sled::open` expects.
const LEAF_FANOUT: usize = 1024;

/// How long `close()` waits for what goes on of a call that was interrupted.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);

type Db = sled_v1::Db<LEAF_FANOUT>;
type Tree = sled_v1::Tree<LEAF_FANOUT>;

#[doc = doc!("V1")]
#[pyclass(frozen, module = "sled_sessions.sled")]
pub struct V1(Arc<Folder>);

struct Folder {
    path: PathBuf,
    state: Mutex<State>,
    /// A call was interrupted, and may be running for ever.
    given_up: AtomicBool,
}

/// `open` is None when the database was closed, or could not be opened anew.
struct State {
    open: Option<Open>,
    touched: usize,
}

struct Open {
    db: Db,
    _held: Held,
}

/// The folders that this process holds. Those that could not be opened stay, with what the panic said. Paths do not tell
/// them apart: a backup may take the place of a damaged one.
static HELD: Mutex<BTreeMap<Identity, Holding>> = Mutex::new(BTreeMap::new());

/// Device and inode.
type Identity = (u64, u64);

struct Holding {
    path: PathBuf,
    broken: Option<String>,
}

struct Held(Identity);

#[doc = doc!("open_v1")]
#[pyfunction]
pub fn open_v1(py: Python<'_>, path: buffer::Folder) -> Result<V1> {
    let buffer::Folder(path) = path;
    guard::call(py, || {
        refuse_0_34(&path)?;
        guard::claim_process()?;
        // The program may change its directory, and the folder is opened anew time and again.
        let path = prepare(&path, false)?;
        let state = Mutex::new(State { open: Some(open(&path)?), touched: 0 });
        Ok(V1(Arc::new(Folder { path, state, given_up: AtomicBool::new(false) })))
    })
}

#[pymethods]
impl V1 {
    #[doc = doc!("V1.tree_names")]
    fn tree_names<'py>(&self, py: Python<'py>) -> Result<Vec<Bound<'py, PyBytes>>> {
        let mut names = self.call(py, |_, db| Ok((names(db), 0)))?;
        names.push(DEFAULT_TREE.to_vec());
        names.sort_unstable();
        names.dedup();
        Ok(names.iter().map(|name| PyBytes::new(py, name)).collect())
    }

    #[doc = doc!("V1.read")]
    fn read<'py>(
        &self,
        py: Python<'py>,
        tree: Name,
        after: Option<Data<'_, '_>>,
        limit: usize,
    ) -> Result<Vec<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)>> {
        let start = after.map_or(Unbounded, |key| Excluded(key.as_slice().to_vec()));
        let pairs = self.call(py, move |folder, db| {
            let tree = folder.existing_tree(db, &tree.0)?;
            let (mut pairs, mut size) = (Vec::new(), 0);
            for pair in tree.range::<Vec<u8>, _>((start, Unbounded)).take(limit) {
                let (key, value) = pair.map_err(|error| folder.error(error))?;
                size += key.len() + value.len();
                pairs.push((key, value));
                if size > CHUNK_BYTES {
                    break;
                }
            }
            Ok((pairs, size))
        })?;
        let bytes = |array: InlineArray| PyBytes::new(py, &array);
        Ok(pairs.into_iter().map(|(key, value)| (bytes(key), bytes(value))).collect())
    }

    #[doc = doc!("V1.insert_new")]
    fn insert_new(&self, py: Python<'_>, tree: Name, pairs: Vec<(Bound<'_, PyAny>, Bound<'_, PyAny>)>) -> Result<()> {
        let array = |data: &Bound<'_, PyAny>| -> Result<InlineArray> {
            Ok(InlineArray::from(data.extract::<Data<'_, '_>>()?.as_slice()))
        };
        let pairs = pairs.iter().map(|(key, value)| Ok((array(key)?, array(value)?))).collect::<Result<Vec<_>>>()?;
        self.call(py, move |folder, db| {
            let tree = folder.tree(db, &tree.0)?;
            let mut size = 0;
            for (key, value) in pairs {
                size += key.len() + value.len();
                if tree.contains_key(&key).map_err(|error| folder.error(error))? {
                    return Err(Error::Misuse(format!("the database {} {NOT_EMPTY}", folder.path.display())));
                }
                tree.insert(key, value).map_err(|error| folder.error(error))?;
            }
            Ok(((), size))
        })
    }

    #[doc = doc!("V1.close")]
    fn close(&self, py: Python<'_>) -> Result<()> {
        let folder = self.0.clone();
        guard::call(py, || {
            if folder.given_up.load(Relaxed) {
                guard::apart(move || folder.close_after_interrupt())
            } else {
                folder.flush_and_drop(&mut lock(&folder.state))
            }
        })
    }
}

impl V1 {
    /// Run `work`, which says how many bytes it touched. Ctrl-C ends it for the caller.
    fn call<T: Send + 'static>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&Folder, &Db) -> Result<(T, usize)> + Send + 'static,
    ) -> Result<T> {
        let folder = self.0.clone();
        let outcome = guard::call(py, || {
            if folder.given_up.load(Relaxed) {
                return Err(Error::Closed(format!(
                    "Ctrl-C has ended a call of the database {}: close it, and open it again with v1.Db()",
                    folder.path.display()
                )));
            }
            guard::apart(move || folder.touch(work))
        });
        if let Err(Error::Python(_)) = outcome {
            self.0.given_up.store(true, Relaxed);
        }
        outcome
    }
}

impl Folder {
    fn touch<T>(&self, work: impl FnOnce(&Self, &Db) -> Result<(T, usize)>) -> Result<T> {
        let mut state = lock(&self.state);
        let open_now = state.open.as_ref().ok_or_else(|| {
            Error::Closed(format!("the database {} is closed: open it again with v1.Db()", self.path.display()))
        })?;
        let (answer, size) = work(self, &open_now.db)?;
        state.touched += size;
        if self.given_up.load(Relaxed) {
            self.flush_and_drop(&mut state)?; // `close()` may have been too early for it
        } else if state.touched > REOPEN_BYTES {
            self.flush_and_drop(&mut state)?;
            *state = State { open: Some(open(&self.path)?), touched: 0 };
        }
        Ok(answer)
    }

    fn close_after_interrupt(&self) -> Result<()> {
        let began = Instant::now();
        while began.elapsed() < RELEASE_TIMEOUT {
            if let Some(mut state) = try_lock(&self.state) {
                return self.flush_and_drop(&mut state);
            }
            thread::sleep(Duration::from_millis(1));
        }
        Err(Error::Misuse(format!(
            "what Ctrl-C has ended still runs in sled 1.0, and keeps {} locked until it or the process ends",
            self.path.display()
        )))
    }

    fn flush_and_drop(&self, state: &mut State) -> Result<()> {
        match state.open.take() {
            Some(open) => open.db.flush().map(drop).map_err(|error| self.error(error)),
            None => Ok(()),
        }
    }

    /// The tree to write to, made if it is missing.
    fn tree(&self, db: &Db, name: &[u8]) -> Result<Tree> {
        if name == DEFAULT_TREE { Ok((**db).clone()) } else { db.open_tree(name).map_err(|error| self.error(error)) }
    }

    /// The tree to read. A program that used 1.0's own `import` has 0.34's default tree under 0.34's name.
    fn existing_tree(&self, db: &Db, name: &[u8]) -> Result<Tree> {
        let is_named = db.contains_tree(name).map_err(|error| self.error(error))?;
        if name != DEFAULT_TREE || !is_named {
            return self.tree(db, name);
        }
        let (own, named) = ((**db).clone(), db.open_tree(name).map_err(|error| self.error(error))?);
        if named.is_empty().map_err(|error| self.error(error))? {
            Ok(own)
        } else if own.is_empty().map_err(|error| self.error(error))? {
            Ok(named)
        } else {
            Err(Error::Sled(sled::Error::Unsupported(format!(
                "{} has a default tree and another one of the name __sled__default: remove one of them",
                self.path.display()
            ))))
        }
    }

    fn error(&self, error: io::Error) -> Error {
        explain(error, &self.path)
    }
}

impl Drop for V1 {
    fn drop(&mut self) {
        if let Some(mut state) = try_lock(&self.0.state)
            && let Some(open) = state.open.take()
        {
            guard::release(open);
        }
    }
}

/// sled 1.0 would make an empty database beside the files of 0.34.
fn refuse_0_34(path: &Path) -> Result<()> {
    if !is_v1(path) && ["conf", "db"].iter().any(|file| path.join(file).exists()) {
        return Err(Error::Sled(sled::Error::Unsupported(format!(
            "{0} was written by sled 0.34, whose format 1.0 cannot read: make a copy that it can with \
             sled-sessions migrate {0} NEW --to 1.0",
            path.display()
        ))));
    }
    Ok(())
}

fn open(path: &Path) -> Result<Open> {
    let held = Held::begin(path)?;
    v1_log::check(path)?;
    let identity = held.0;
    let (folder, config) = (path.to_owned(), sled_v1::Config::new().path(path).flush_every_ms(None));
    let opened = guard::apart(move || {
        let db = patiently(|| config.open().map_err(|error| explain(error, &folder)))?;
        Ok(Open { db, _held: held })
    });
    match opened {
        Err(Error::Panic(what)) => {
            if let Some(holding) = lock(&HELD).get_mut(&identity) {
                holding.broken = Some(what.clone());
            }
            Err(broken(path, &what))
        }
        other => other,
    }
}

impl Held {
    fn begin(path: &Path) -> Result<Self> {
        let folder = fs::metadata(path).map_err(|error| at(error, path))?;
        let identity = (folder.dev(), folder.ino());
        let mut held = lock(&HELD);
        match held.get(&identity) {
            None => {
                held.insert(identity, Holding { path: path.to_owned(), broken: None });
                Ok(Held(identity))
            }
            Some(Holding { broken: None, .. }) => Err(locked_here(path)),
            Some(Holding { broken: Some(what), .. }) => Err(broken(path, what)),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        lock(&HELD).remove(&self.0);
    }
}

/// What this process has locked; the same is true of it as of `engine::locked_files`.
pub fn locked_files() -> Vec<PathBuf> {
    match try_lock(&HELD) {
        Some(held) => held.values().flat_map(|it| [it.path.clone(), it.path.join("metadata")]).collect(),
        None => Vec::new(),
    }
}

fn explain(error: io::Error, path: &Path) -> Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => locked(path),
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => broken(path, &error.to_string()),
        _ => at(error, path),
    }
}

fn broken(path: &Path, what: &str) -> Error {
    damaged(path, &format!("sled 1.0 could not read one of its files: {what}"))
}

fn names(db: &Db) -> Vec<Vec<u8>> {
    db.export().into_iter().map(|(_, name, _)| name).collect()
}
