//! Files and folders: names, locks, fsync.

use std::{
    fs::{self, File, TryLockError},
    io::{self, ErrorKind},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use crate::error::{At, Error, Result};

/// How long to wait for another process to release a lock. A child process that is being started holds copies of its
/// parent's locks until it executes its program.
pub const LOCK_PATIENCE: Duration = Duration::from_millis(100);

/// The file that notes up to where ids may have been handed out; see `runtime::ids`.
pub const IDS: &str = "ids";

/// Retry for a moment while another process holds the lock.
pub fn retry_while_locked<T>(attempt: impl Fn() -> Result<T>) -> Result<T> {
    let began = Instant::now();
    loop {
        match attempt() {
            Err(Error::Locked(_)) if began.elapsed() < LOCK_PATIENCE => thread::sleep(Duration::from_millis(1)),
            outcome => return outcome,
        }
    }
}

/// Lock a file or folder of the database; the lock ends when `file` is closed.
pub fn lock_file(file: &File, database: &Path) -> Result<()> {
    retry_while_locked(|| match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(locked(database)),
        Err(TryLockError::Error(error)) => Err(error).at(database), // such as a file system without locks
    })
}

/// The error for a folder that another process has open.
pub fn locked(folder: &Path) -> Error {
    Error::Locked(format!(
        "another process has the database {} open: sled lets one process at a time open a folder",
        folder.display()
    ))
}

/// Wait until the names in a folder are on the disk. Ignores folders that may not be opened and file systems that
/// cannot fsync a folder.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    use ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        Err(error) if matches!(error.kind(), PermissionDenied | InvalidInput | Unsupported) => Ok(()),
        other => other,
    }
}

pub fn remove_if_present(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether sled 1.0 made this folder; only it writes a `durability_cookie`.
pub fn is_v1(folder: &Path) -> bool {
    folder.join("durability_cookie").exists()
}
