//! Opening a database: the checks that sled does not make, and errors that name the folder.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
};

use rustix::io::Errno;

use crate::{
    disk::{
        check::check_files,
        conf::{SEGMENT_SIZE, WRONG_CONF, stored_segment_size},
        creation::{CREATING, Creation, V0_34, create_files, prepare_folder},
        damaged,
        files::{is_v1, lock_file, locked, retry_while_locked},
        log::detect_segment_size,
        private::{Mode, create_folder},
        regular::{check_layout, open_file},
        snapshots,
    },
    error::{At, Error, Result},
    runtime::{
        claims::{Claim, FolderKey},
        engine::Engine,
        fork, guard,
        locks::lock,
    },
};

/// sled's seven I/O threads and its flusher, and `monitor`.
const THREADS: usize = 9;

pub struct Options {
    pub temporary: bool,
    pub create_new: bool,
    pub segment_size: Option<usize>,
    /// Of files and folders that are created.
    pub mode: Mode,
}

/// Open the database in the folder `path`, creating both if they are missing; without a path, a temporary one. Ctrl-C
/// ends the wait; the folder stays claimed until sled has opened it, and is then closed.
pub fn open(config: sled::Config, path: Option<PathBuf>, options: Options) -> Result<Arc<Engine>> {
    guard::call_interruptibly(move || open_here(config, path, options))
}

fn open_here(config: sled::Config, path: Option<PathBuf>, options: Options) -> Result<Arc<Engine>> {
    let Options { temporary, segment_size, mode, .. } = options;
    let Some(path) = path else {
        let path = config.get_path();
        let claim = claim(&path)?;
        create_folder(&path, mode).at(&path)?;
        create_files(&path, mode)?;
        return start(config.segment_size(segment_size.unwrap_or(SEGMENT_SIZE)), path, temporary, claim);
    };
    let path = prepare_folder(&path, temporary, mode)?;
    let claim = claim(&path)?;
    if is_v1(&path) {
        return Err(Error::unsupported(format!(
            "{} was written by sled 1.0, whose format 0.34 cannot read: import the export of its v1.Db into a new \
             database",
            path.display()
        )));
    }
    check_layout(&path, &V0_34)?;
    let creation = Creation::begin(&path, mode)?;
    if options.create_new && creation.is_none() && path.join("db").exists() {
        return Err(io::Error::from(Errno::EXIST)).at(&path.join("db"));
    }
    let stored = stored_segment_size(&path)?;
    inspect(&path, stored, segment_size)?;
    if creation.is_some() {
        create_files(&path, mode)?;
    }
    let segment_size = segment_size.or(stored).unwrap_or(SEGMENT_SIZE);
    let engine = start(config.path(&path).segment_size(segment_size), path, temporary, claim)?;
    snapshots::remove_empty(engine.path())?;
    if let Some(creation) = creation {
        engine.flush(true)?;
        creation.end()?;
    }
    Ok(engine)
}

fn claim(path: &Path) -> Result<Claim> {
    Claim::begin(FolderKey::Path(path.to_owned()), path, ["db", CREATING])
}

fn start(config: sled::Config, path: PathBuf, temporary: bool, claim: Claim) -> Result<Arc<Engine>> {
    fork::claim_process()?;
    require_threads().at(&path)?;
    let db = retry_while_locked(|| guard::catch(|| Ok(config.open()?)).map_err(|error| explain(error, &path)))?;
    Engine::new(db, path, temporary, claim)
}

/// Check that sled's threads can be started: it ignores those that cannot, and without any it waits for ever.
fn require_threads() -> io::Result<()> {
    let gate = Arc::new(Mutex::new(()));
    let closed = lock(&gate);
    let start = |_| {
        let gate = gate.clone();
        thread::Builder::new().spawn(move || drop(lock(&gate)))
    };
    let threads = (0..THREADS).map(start).collect::<io::Result<Vec<_>>>()?;
    drop(closed);
    threads.into_iter().for_each(|thread| drop(thread.join()));
    Ok(())
}

/// Name the folder, and tell a lock from other I/O errors, which sled words alike.
fn explain(error: Error, path: &Path) -> Error {
    match error {
        Error::Sled(sled::Error::Io(error)) if error.to_string().starts_with("could not acquire lock") => locked(path),
        Error::Sled(sled::Error::Corruption { .. }) => {
            damaged(path, "the file db was cut short or lost, or the file snap.… or conf is not what sled wrote")
        }
        Error::Sled(sled::Error::Unsupported(why)) if why.contains("earlier than 0.29") => damaged(path, WRONG_CONF),
        // Whichever broken promise the panic names, on opening its cause is damaged files.
        Error::Panic(what) => damaged(path, &format!("sled panicked: {what}")),
        other => other.at(path),
    }
}

/// Check that the files are whole. Only under the lock, because a running process may be writing.
fn inspect(path: &Path, stored: Option<usize>, wanted: Option<usize>) -> Result<()> {
    let file = open_file(&path.join("db"));
    if let Ok(file) = &file {
        lock_file(file, path)?;
    }
    snapshots::tidy(path)?;
    let size = stored.or(wanted).unwrap_or(SEGMENT_SIZE);
    if stored.is_none()
        && let Some(detected) = detect_segment_size(path)
        && detected != size
    {
        let what = format!("the file conf is missing, which would say segment_size={detected} (open it with that)");
        return Err(damaged(path, &what));
    }
    check_files(path, size)?;
    snapshots::set_empty_aside(path)
}
