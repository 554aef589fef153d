//! Errors as Python sees them; the exception classes are defined in `errors.py`.

use std::{io, path::PathBuf};

use pyo3::{exceptions::PyValueError, prelude::*};
use sled::DiskPtr;

use crate::{
    disk::damaged,
    error::{Error, Failure},
};

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
            Error::Failed(failure) => from_failure(failure),
            Error::Forked => python::ForkedProcess::new_err(
                "this process was forked after its parent opened sled, whose I/O threads exist only in the parent: \
                 open the database after the fork, or start the process with 'spawn'",
            ),
            Error::InTransaction => python::SledError::new_err(
                "this thread is inside a transaction, where the call would deadlock: \
                 use the trees that the transaction passed to its function",
            ),
            Error::Locked(why) => python::DatabaseLocked::new_err(why),
            Error::Misuse(why) => python::SledError::new_err(why),
            Error::Value(why) => PyValueError::new_err(why),
        }
    }
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
                Some(DiskPtr::Blob(_, name)) => format!("the file blobs/{name} is not what sled wrote"),
                None => "one of its files is".to_owned(),
            };
            damaged(&path.unwrap_or_default(), &what).into()
        }
        sled::Error::Io(error) => from_io(error, path, &place),
    }
}

/// `OSError(errno, text, filename)` if the number is known.
fn from_io(error: io::Error, path: Option<PathBuf>, place: &str) -> PyErr {
    let (errno, text) = number_and_text(&error);
    let Some(errno) = errno else {
        return python::SledIOError::new_err(format!("{text}{place}"));
    };
    match path {
        Some(path) => python::SledIOError::new_err((errno, text, path.into_os_string())),
        None => python::SledIOError::new_err((errno, text)),
    }
}

fn from_failure(Failure { cause, folder, needs_restart }: Failure) -> PyErr {
    let (errno, text) = number_and_text(&cause);
    let cure = if needs_restart {
        "sled's threads may still write to the database: restart the process, then open it again"
    } else {
        "since then the database can be read, but not written: close it and open it again, which recovers what was \
         written before"
    };
    let text = format!("{text}; {cure}");
    match errno {
        Some(errno) => python::SledIOError::new_err((errno, text, folder.into_os_string())),
        None => python::SledIOError::new_err(format!("{text} ({})", folder.display())),
    }
}

fn number_and_text(error: &io::Error) -> (Option<i32>, String) {
    let text = error.to_string();
    let Some(errno) = error.raw_os_error().or_else(|| cloned_number(&text)) else { return (None, text) };
    let text = io::Error::from_raw_os_error(errno).to_string();
    (Some(errno), text.replace(&format!(" (os error {errno})"), ""))
}

/// The number in an error that sled has cloned, which keeps only its debug text, `Os { code: 28, kind: StorageFull, …
/// }`, or that sled has logged, `… (os error 28)`.
fn cloned_number(text: &str) -> Option<i32> {
    let behind = |prefix| text.split_once(prefix)?.1.split([',', ')']).next()?.parse().ok();
    behind("Os { code: ").or_else(|| behind("(os error "))
}

#[cfg(test)]
#[path = "../../../../tests/engine/rust/error.rs"]
mod tests;
