//! Opening a database: sled's options, and a look at the folder before sled gets it.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use pyo3::{exceptions::PyTypeError, prelude::*};

use crate::{
    buffer::{Folder, Number},
    conf::{SEGMENT_SIZE, SEGMENT_SIZES, WRONG_CONF, is_segment_size, stored_config},
    creation::Creation,
    db::Db,
    engine::{Engine, Opening, open_here},
    error::{Error, Result, damaged},
    files::{at, is_v1, lock_file, locked, locked_here, patiently, prepare},
    guard, log,
    tree::Tree,
};

/// sled panics below this.
const MIN_CACHE_CAPACITY: u64 = 256;

// `mode` and `snapshot_after_ops` do nothing in 0.34, `compression_factor` belongs to a feature that is not built in,
// `print_profile_on_drop` has nothing to print without sled's metrics, `snapshot_path` is gone, and with another
// `idgen_persist_interval` than a database was written with sled gives ids out twice: none is offered.
#[doc = doc!("open")]
#[pyfunction]
#[pyo3(signature = (
    path = None,
    *,
    cache_capacity = Number(1024 * 1024 * 1024),
    flush_every_ms = Some(Number(500)),
    create_new = false,
    temporary = false,
    segment_size = None,
), text_signature = "(path=None, *, cache_capacity=1073741824, flush_every_ms=500, create_new=False, temporary=False, \
    segment_size=None)")]
pub fn open(
    py: Python<'_>,
    path: Option<Folder>,
    cache_capacity: Number,
    flush_every_ms: Option<Number>,
    create_new: bool,
    temporary: bool,
    segment_size: Option<Number>,
) -> Result<Py<Db>> {
    if path.is_none() && !temporary {
        return Err(PyTypeError::new_err("open() needs a path unless temporary=True").into());
    }
    let Number(cache_capacity) = cache_capacity;
    if cache_capacity < MIN_CACHE_CAPACITY {
        return Err(Error::Misuse(format!("cache_capacity must be at least {MIN_CACHE_CAPACITY} bytes")));
    }
    let flush_every_ms = flush_every_ms.map(|Number(milliseconds)| milliseconds);
    if flush_every_ms == Some(0) {
        return Err(Error::Misuse("flush_every_ms must be at least 1, or None to flush by hand only".into()));
    }
    let segment_size = segment_size.map(|Number(size)| usize::try_from(size).unwrap_or(usize::MAX));
    if segment_size.is_some_and(|size| !is_segment_size(size)) {
        let (least, most) = SEGMENT_SIZES.into_inner();
        return Err(Error::Misuse(format!("segment_size must be a power of two from {least} to {most}")));
    }
    let config = sled::Config::new()
        .cache_capacity(cache_capacity)
        .flush_every_ms(flush_every_ms)
        .create_new(create_new)
        .temporary(temporary);
    let engine = guard::call(py, || match path {
        Some(Folder(path)) => open_folder(config, &path, temporary, segment_size),
        None => start(config.segment_size(segment_size.unwrap_or(SEGMENT_SIZE)), None, true),
    })?;
    let tree = engine.with(|db| Ok((**db).clone()))?;
    let recovered = engine.with(|db| Ok(db.was_recovered()))?;
    let base = Tree::new(engine.handle(tree), None);
    let db = PyClassInitializer::from(base).add_subclass(Db::new(engine, recovered));
    Ok(Py::new(py, db)?)
}

fn open_folder(config: sled::Config, path: &Path, temporary: bool, segment_size: Option<usize>) -> Result<Arc<Engine>> {
    let path = prepare(path, temporary)?;
    let Some(_opening) = Opening::begin(&path) else {
        return Err(Error::Locked(format!(
            "another thread of this process is opening {}: wait for it, and share its Db",
            path.display()
        )));
    };
    if open_here(&path) {
        return Err(locked_here(&path));
    }
    refuse_1_0(&path)?;
    let creation = Creation::begin(&path)?;
    let stored = stored_config(&path)?;
    inspect(&path, stored, segment_size)?;
    let segment_size = segment_size.or(stored).unwrap_or(SEGMENT_SIZE);
    let engine = start(config.path(&path).segment_size(segment_size), Some(path), temporary)?;
    if let Some(creation) = creation {
        engine.flush(true)?;
        creation.end()?;
    }
    Ok(engine)
}

fn start(config: sled::Config, path: Option<PathBuf>, temporary: bool) -> Result<Arc<Engine>> {
    let place = path.clone().unwrap_or_else(|| config.get_path());
    guard::claim_process()?;
    let db = patiently(|| guard::catch(|| Ok(config.open()?)).map_err(|error| explain(error, &place)))?;
    Engine::new(db, place, temporary)
}

/// Say which folder it was, and tell a lock from other I/O errors: sled words both alike.
fn explain(error: Error, path: &Path) -> Error {
    match error {
        Error::Sled(sled::Error::Io(error)) if error.to_string().starts_with("could not acquire lock") => locked(path),
        Error::Sled(sled::Error::Io(error)) if error.kind() == io::ErrorKind::AlreadyExists => {
            at(error, &path.join("db"))
        }
        Error::Sled(sled::Error::Corruption { .. }) => {
            damaged(path, "the file db was cut short or lost, or the file snap.… or conf is not what was written")
        }
        Error::Sled(sled::Error::Unsupported(why)) if why.contains("earlier than 0.29") => damaged(path, WRONG_CONF),
        Error::Sled(error) => Error::SledAt(error, path.to_owned()),
        // Whatever broken promise sled names, on opening it comes from damaged files.
        Error::Panic(what) => damaged(path, &format!("sled panicked: {what}")),
        other => other,
    }
}

/// sled 1.0 opens a 0.34 folder as an empty database, and the other way round.
fn refuse_1_0(path: &Path) -> Result<()> {
    if is_v1(path) {
        return Err(Error::Sled(sled::Error::Unsupported(format!(
            "{0} was written by sled 1.0, whose format 0.34 cannot read: make a copy that it can with \
             sled-sessions migrate {0} NEW --to 0.34",
            path.display()
        ))));
    }
    Ok(())
}

/// What sled does not do: see whether the files are whole. Only under the lock, for a running process may be writing.
fn inspect(path: &Path, stored: Option<usize>, wanted: Option<usize>) -> Result<()> {
    let lock = File::open(path.join("db"));
    if let Ok(file) = &lock {
        lock_file(file, path)?;
    }
    remove_unfinished_snapshots(path).map_err(|error| at(error, path))?;
    let size = stored.or(wanted).unwrap_or(SEGMENT_SIZE);
    if stored.is_none()
        && let Some(told) = log::told_segment_size(path)
        && told != size
    {
        let what = format!("the file conf is missing, which would say segment_size={told} (open it with that)");
        return Err(damaged(path, &what));
    }
    log::check(path, size)?;
    drop(lock);
    Ok(())
}

/// Remove what a crash during an earlier open left behind: sled would take the torn file for a damaged snapshot, each
/// time. The log holds everything that a snapshot holds.
fn remove_unfinished_snapshots(path: &Path) -> io::Result<()> {
    fs::read_dir(path)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|file| file.extension() == Some(OsStr::new("generating")))
        .filter(|file| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("snap.")))
        .try_for_each(fs::remove_file)
}
