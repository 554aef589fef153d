//! The crate's one error type, so that `?` works everywhere. `binding::error` turns it into Python's exceptions.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use pyo3::PyErr;

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Debug)]
pub enum Error {
    /// What sled returned.
    Sled(sled::Error),
    /// The same, with the file or folder that the message names.
    SledAt(sled::Error, PathBuf),
    /// A Python exception, passed on unchanged.
    Python(PyErr),
    /// sled panicked; the text says where.
    Panic(String),
    Damaged(String),
    Closed(String),
    WatcherClosed,
    EventsLost(u64),
    /// Nothing can be written to the database.
    Failed(Failure),
    Forked,
    InTransaction,
    Locked(String),
    Misuse(String),
    /// An argument outside its range.
    Value(String),
}

/// Why a database can be read, but not written any more.
#[derive(Clone, Debug)]
pub struct Failure {
    pub cause: Arc<io::Error>,
    pub folder: PathBuf,
    /// Threads of sled may still be writing, so this process cannot open the folder again.
    pub needs_restart: bool,
}

impl Error {
    pub fn unsupported(why: String) -> Self {
        Error::Sled(sled::Error::Unsupported(why))
    }

    /// The error for an import into something that already has one of the keys.
    pub fn import_conflict(target: &str) -> Self {
        Error::Misuse(format!("the {target} holds a key of the import already: import into an empty database"))
    }

    /// Add the database's folder to an error that sled returned.
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

/// Adds the file or folder to an I/O error.
pub trait At<T> {
    fn at(self, path: &Path) -> Result<T>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, path: &Path) -> Result<T> {
        self.map_err(|error| Error::SledAt(error.into(), path.to_owned()))
    }
}
