//! Files and folders: their names, their locks, and the errors that say where.

use std::{
    fs::{self, File, TryLockError},
    io::{
        self,
        ErrorKind::{InvalidInput, PermissionDenied, Unsupported},
    },
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use crate::error::{Error, Result};

/// How long to wait for a lock of others: a child process that is being started holds a copy of each until it runs its
/// program.
pub const OTHERS_TIMEOUT: Duration = Duration::from_millis(100);

/// Try again for a moment while somebody else has the lock.
pub fn patiently<T>(attempt: impl Fn() -> Result<T>) -> Result<T> {
    let began = Instant::now();
    loop {
        match attempt() {
            Err(Error::Locked(_)) if began.elapsed() < OTHERS_TIMEOUT => thread::sleep(Duration::from_millis(1)),
            outcome => return outcome,
        }
    }
}

/// Lock a file that is there for this.
pub fn lock_file(file: &File, database: &Path) -> Result<()> {
    patiently(|| {
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => locked(database),
            TryLockError::Error(error) => at(error, database), // a file system without locks, say
        })
    })
}

pub fn locked(path: &Path) -> Error {
    Error::Locked(format!(
        "another process has the database {} open: sled lets one process at a time open a folder",
        path.display()
    ))
}

pub fn locked_here(path: &Path) -> Error {
    Error::Locked(format!("{} is open in this process already: share that Db, or close it first", path.display()))
}

pub fn at(error: io::Error, path: &Path) -> Error {
    Error::SledAt(error.into(), path.to_owned())
}

/// Wait until the disk has the names in a folder. One that is not ours may not let us, and some file systems cannot.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        Err(error) if [PermissionDenied, InvalidInput, Unsupported].contains(&error.kind()) => Ok(()),
        other => other,
    }
}

pub fn remove_if_there(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
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

/// Is this a folder of sled 1.0? Its mark is a `durability_cookie`.
pub fn is_v1(path: &Path) -> bool {
    path.join("durability_cookie").exists()
}
