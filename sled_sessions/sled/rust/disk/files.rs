//! Files and folders: names, locks, fsync.

use std::{
    fs::{self, File, TryLockError},
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
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

/// Put a file with this content in place of `file`, which even a power cut leaves as it was or with all of `text`.
pub fn replace_file(file: &Path, text: &str) -> io::Result<()> {
    let new = file.with_extension("new");
    remove_if_present(&new)?;
    let mut written = File::create_new(&new)?; // never follows a link
    written.write_all(text.as_bytes())?;
    written.sync_all()?;
    fs::rename(&new, file)?;
    sync_folder(file.parent().unwrap_or(Path::new(".")))
}

pub fn remove_if_present(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Create the folder if it is missing; return its absolute path without symbolic links. sled looks up files by path
/// as long as it is open, even after a `chdir`.
pub fn prepare_folder(path: &Path, temporary: bool) -> Result<PathBuf> {
    if path.is_file() {
        let what = io::Error::new(ErrorKind::NotADirectory, "a database is a folder, and this is a file");
        return Err(what).at(path);
    }
    if temporary && fs::read_dir(path).is_ok_and(|mut files| files.next().is_some()) {
        let what = format!("temporary=True would delete {}, which already contains files", path.display());
        return Err(Error::Misuse(what));
    }
    let missing = path.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists()).count();
    let absolute = fs::create_dir_all(path).and_then(|()| path.canonicalize()).at(path)?;
    for parent in absolute.ancestors().skip(1).take(missing) {
        sync_folder(parent).at(parent)?;
    }
    Ok(absolute)
}

/// Whether sled 1.0 made this folder; only it writes a `durability_cookie`.
pub fn is_v1(folder: &Path) -> bool {
    folder.join("durability_cookie").exists()
}
