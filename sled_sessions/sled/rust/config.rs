//! Opening a database: sled's options, and a look at the folder before sled gets it.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::Arc,
};

use pyo3::{exceptions::PyTypeError, prelude::*};

use crate::{
    buffer::{Folder, Number},
    db::Db,
    engine::{Engine, Opening, open_here},
    error::{Error, Result},
    files::{at, lock_file, locked, locked_here, patiently, remove_if_there, sync_folder},
    guard,
    log::{self, damaged},
    tree::Tree,
};

/// sled panics below this.
const MIN_CACHE_CAPACITY: u64 = 256;

/// sled's own default.
pub const SEGMENT_SIZE: usize = 512 * 1024;

/// What sled allows; it must be a power of two, too.
pub const SEGMENT_SIZES: RangeInclusive<usize> = 256..=1 << 24;

/// sled takes a `conf` that is not longer for none, and writes it anew.
const EMPTY_CONF: usize = 8;

/// The mark of a database that is being made.
pub const CREATING: &str = "creating";

const WRONG_CONF: &str = "the file conf is not what sled 0.34 writes, unless a sled before 0.29 made the database";

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
#[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
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

/// Make the folder and find its one true name: sled looks files up by path all its life, even after a `chdir`.
pub fn prepare(path: &Path, temporary: bool) -> Result<PathBuf> {
    if path.is_file() {
        let what = io::Error::new(io::ErrorKind::NotADirectory, "a database is a folder, and this is a file");
        return Err(at(what, path));
    }
    if temporary && fs::read_dir(path).is_ok_and(|mut files| files.next().is_some()) {
        return Err(Error::Misuse(format!(
            "temporary=True would delete {}, which holds files already",
            path.display()
        )));
    }
    let missing = path.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists()).count();
    let name = fs::create_dir_all(path).and_then(|()| path.canonicalize()).map_err(|error| at(error, path))?;
    for parent in name.ancestors().skip(1).take(missing) {
        sync_folder(parent).map_err(|error| at(error, parent))?;
    }
    Ok(name)
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

/// The segment size of the database in this folder, if there is one; refuse what this sled would misread.
///
/// `conf` holds lines such as `use_compression: false`, then their CRC, of which sled only logs that it is wrong.
pub fn stored_config(path: &Path) -> Result<Option<usize>> {
    let file = path.join("conf");
    let content = match fs::read(&file) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at(error, &file)),
    };
    let (lines, crc) = match content.split_last_chunk::<4>() {
        Some(parts) if content.len() > EMPTY_CONF => parts,
        _ => return Ok(None),
    };
    if crc32fast::hash(lines) != u32::from_le_bytes(*crc) {
        return Err(damaged(path, WRONG_CONF));
    }
    let text = String::from_utf8_lossy(lines);
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    if value("use_compression") == Some("true") {
        return Err(Error::Sled(sled::Error::Unsupported(format!(
            "{} was written with sled's compression, which is not built in: export it with the program that wrote it",
            path.display()
        ))));
    }
    let size = value("segment_size").and_then(|size| size.parse().ok()).filter(|size| is_segment_size(*size));
    size.map(Some).ok_or_else(|| damaged(path, WRONG_CONF))
}

pub fn is_segment_size(size: usize) -> bool {
    SEGMENT_SIZES.contains(&size) && size.is_power_of_two()
}

/// Is this a folder of sled 1.0? Its mark is a `durability_cookie`.
pub fn is_v1(path: &Path) -> bool {
    path.join("durability_cookie").exists()
}

/// A database that nothing has been written to yet. The mark tells one whose making was cut off from one that lost its
/// file `db`; its lock keeps others away until sled's own does.
struct Creation {
    mark: PathBuf,
    _lock: File,
}

impl Creation {
    fn begin(path: &Path) -> Result<Option<Self>> {
        let mark = path.join(CREATING);
        let is_new = || {
            let is_marked = mark.exists() && !path.join(log::END).exists();
            let is_empty = fs::metadata(path.join("db")).map_or(true, |file| file.len() == 0);
            (is_empty && (is_marked || !path.join("conf").exists())) || (is_marked && is_unfinished(path))
        };
        let remove = |name: &str| remove_if_there(&path.join(name)).map_err(|error| at(error, path));
        if !is_new() {
            // Whoever made it was killed when only the mark was left to remove. Later the mark would lie.
            return if mark.exists() { remove(CREATING).map(|()| None) } else { Ok(None) };
        }
        let lock = File::create(&mark).map_err(|error| at(error, &mark))?;
        lock_file(&lock, path)?;
        if !is_new() {
            return remove(CREATING).map(|()| None); // somebody has finished it meanwhile
        }
        sync_folder(path).map_err(|error| at(error, path))?; // a power cut must not leave the rest without the mark
        remove("conf")?; // it may be half written
        remove("db")?;
        remove(log::END)?; // it speaks of another log
        Ok(Some(Creation { mark, _lock: lock }))
    }

    /// Call it when the disk has the file `db`. What leads to it, and what sled needs to read it, must be there as well.
    fn end(self) -> Result<()> {
        let folder = self.mark.parent().unwrap_or(Path::new("."));
        let around = folder.parent().unwrap_or(folder);
        let conf = folder.join("conf");
        File::open(&conf).and_then(|file| file.sync_all()).map_err(|error| at(error, &conf))?;
        for folder in [folder, around] {
            sync_folder(folder).map_err(|error| at(error, folder))?;
        }
        remove_if_there(&self.mark).map_err(|error| at(error, &self.mark))
    }
}

/// Is this what a power cut may leave of a database that was being made? Nobody had opened it yet.
fn is_unfinished(path: &Path) -> bool {
    let db = path.join("db");
    let is_short = fs::metadata(&db).is_ok_and(|file| file.len() <= 4096);
    let is_blank = || fs::read(&db).is_ok_and(|content| content.iter().all(|byte| *byte == 0));
    is_short && (is_blank() || !matches!(stored_config(path), Ok(Some(_))))
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
