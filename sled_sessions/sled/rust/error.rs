//! One error type for the crate, so that `?` works everywhere; the exception classes live in `errors.py`.

use std::{
    io,
    path::{Path, PathBuf},
};

use pyo3::{exceptions::PyValueError, prelude::*};
use sled::DiskPtr;

mod python {
    use pyo3::import_exception;
    import_exception!(sled_sessions.sled.errors, SledError);
    import_exception!(sled_sessions.sled.errors, CollectionNotFound);
    import_exception!(sled_sessions.sled.errors, Unsupported);
    import_exception!(sled_sessions.sled.errors, ReportableBug);
    import_exception!(sled_sessions.sled.errors, Corruption);
    import_exception!(sled_sessions.sled.errors, SledIOError);
    import_exception!(sled_sessions.sled.errors, DatabaseLocked);
    import_exception!(sled_sessions.sled.errors, ForkedProcess);
    import_exception!(sled_sessions.sled.errors, ClosedError);
    import_exception!(sled_sessions.sled.errors, EventsLost);
}

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Debug)]
pub enum Error {
    /// What sled returned.
    Sled(sled::Error),
    /// The same, while a file of this path was at work: its name belongs into the message.
    SledAt(sled::Error, PathBuf),
    /// A Python exception that passes through unchanged.
    Python(PyErr),
    /// sled panicked; the text says where.
    Panic(String),
    Damaged(String),
    Closed(String),
    WatcherClosed,
    EventsLost(u64),
    Forked,
    InTransaction,
    Locked(String),
    Misuse(String),
    /// An argument outside its range.
    Value(String),
}

impl Error {
    /// Name the database in what sled returned.
    pub fn at(self, folder: &Path) -> Self {
        match self {
            Error::Sled(error) => Error::SledAt(error, folder.to_owned()),
            other => other,
        }
    }
}

impl From<sled::Error> for Error {
    fn from(error: sled::Error) -> Self {
        Error::Sled(error)
    }
}

impl From<PyErr> for Error {
    fn from(error: PyErr) -> Self {
        Error::Python(error)
    }
}

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        match error {
            Error::Sled(error) => from_sled(error, None),
            Error::SledAt(error, path) => from_sled(error, Some(path)),
            Error::Python(error) => error,
            Error::Panic(what) => python::ReportableBug::new_err(format!("sled panicked: {what}")),
            Error::Damaged(what) => python::Corruption::new_err(what),
            Error::Closed(why) => python::ClosedError::new_err(why),
            Error::WatcherClosed => python::ClosedError::new_err("the watcher or its database is closed"),
            Error::EventsLost(count) => python::EventsLost::new_err(format!(
                "{count} events were dropped because the watcher was read too slowly: read the tree again, \
                 or give watch() a larger capacity"
            )),
            Error::Forked => python::ForkedProcess::new_err(
                "sled was opened before this process was forked and its I/O threads stayed behind: \
                 open the database after the fork, or start the process with 'spawn'",
            ),
            Error::InTransaction => python::SledError::new_err(
                "this thread is inside a transaction, where the call would wait for itself: \
                 use the trees that the transaction's function was given",
            ),
            Error::Locked(why) => python::DatabaseLocked::new_err(why),
            Error::Misuse(why) => python::SledError::new_err(why),
            Error::Value(why) => PyValueError::new_err(why),
        }
    }
}

/// The error for a database of 0.34 whose files are not whole.
pub fn damaged(folder: &Path, what: &str) -> Error {
    Error::Damaged(format!(
        "{} is damaged: {what}. Restore a backup (sled-sessions restore), or copy what can still be read \
         (sled-sessions salvage)",
        folder.display()
    ))
}

fn from_sled(error: sled::Error, path: Option<PathBuf>) -> PyErr {
    let place = path.as_ref().map(|path| format!(" ({})", path.display())).unwrap_or_default();
    match error {
        sled::Error::CollectionNotFound(_) => {
            python::CollectionNotFound::new_err("this tree was dropped: open it again with Db.open_tree()")
        }
        sled::Error::Unsupported(why) => python::Unsupported::new_err(format!("{why}{place}")),
        sled::Error::ReportableBug(what) => python::ReportableBug::new_err(format!("{what}{place}")),
        sled::Error::Corruption { at, .. } => {
            let what = match at {
                Some(DiskPtr::Inline(offset)) => format!("the file db is, at byte {offset}"),
                Some(DiskPtr::Blob(_, name)) => format!("the file blobs/{name} is not what was written"),
                None => "one of its files is".to_owned(),
            };
            damaged(&path.unwrap_or_default(), &what).into()
        }
        sled::Error::Io(error) => from_io(error, path),
    }
}

/// `OSError(errno, text, filename)` where the number is known.
fn from_io(error: io::Error, path: Option<PathBuf>) -> PyErr {
    let error = cloned_number(&error).map_or(error, io::Error::from_raw_os_error);
    let text = error.to_string();
    match (error.raw_os_error(), path) {
        (Some(errno), Some(path)) => {
            let text = text.replace(&format!(" (os error {errno})"), "");
            python::SledIOError::new_err((errno, text, path.into_os_string()))
        }
        (Some(errno), None) => {
            let text = text.replace(&format!(" (os error {errno})"), "");
            python::SledIOError::new_err((errno, text))
        }
        (None, Some(path)) => python::SledIOError::new_err(format!("{text} ({})", path.display())),
        (None, None) => python::SledIOError::new_err(text),
    }
}

/// sled clones an error by its debug text, such as `Os { code: 28, kind: StorageFull, … }`.
fn cloned_number(error: &io::Error) -> Option<i32> {
    let text = error.to_string();
    text.split_once("Os { code: ")?.1.split_once(',')?.0.parse().ok()
}
