//! The snapshots that sled writes on opening: files `snap.…`, named after the log position that they cover.
//!
//! A snapshot tells where in the log each page is. The log alone tells it too: sled reuses a segment only after all that
//! lives in it was written again at a later position. So an empty snapshot, as a full disk or an interrupted copy
//! leaves it, is set aside. Its name still says up to where the log was whole. Only if the segment is gone up to which
//! the newest header says that the log was written, sled would take a log without snapshot for empty; `check` refuses
//! that.

use std::{
    ffi::OsString,
    fs::{self, DirEntry},
    io,
    path::Path,
};

use crate::{
    disk::{files::remove_if_present, private::Mode, regular::open_file},
    error::{At, Error, Result},
};

const PREFIX: &str = "snap.";

/// What a crash leaves of a snapshot.
const UNFINISHED: &str = ".generating";

/// sled ignores snapshots with this ending.
const ASIDE: &str = ".in___motion";

/// Hexadecimal digits of a position.
const DIGITS: usize = 16;

#[derive(Default)]
pub struct Snapshots {
    /// The position of the newest snapshot that has content.
    pub last: Option<u64>,
    /// The position of the newest empty one.
    pub emptied: Option<u64>,
}

impl Snapshots {
    pub fn of(folder: &Path) -> io::Result<Self> {
        let mut found = Snapshots::default();
        for (entry, name) in entries(folder)? {
            if let Some(position) = position(name.strip_suffix(ASIDE).unwrap_or(&name)) {
                let is_empty = entry.metadata()?.len() == 0;
                let newest = if is_empty { &mut found.emptied } else { &mut found.last };
                *newest = (*newest).max(Some(position));
            }
        }
        Ok(found)
    }
}

/// Remove the unfinished snapshots of a process that crashed while it opened the database; sled would report them as
/// damage each time. sled would also take a file of another name for its newest snapshot: that is an error.
pub fn tidy(folder: &Path) -> Result<()> {
    for (entry, name) in entries(folder).at(folder)? {
        if name.ends_with(UNFINISHED) {
            fs::remove_file(entry.path()).at(folder)?;
        } else if !name.ends_with(ASIDE) && position(&name).is_none() {
            return Err(Error::Damaged(format!(
                "{} contains {PREFIX}{name}, which sled would take for its newest snapshot: move it to another folder, \
                 or remove it",
                folder.display()
            )));
        }
    }
    Ok(())
}

/// Hide empty snapshots from sled. They stay until sled has written a new one: a kill before that must not make the
/// database look as if it had never been reopened, because then segments that sled has emptied count as damaged.
pub fn set_empty_aside(folder: &Path) -> Result<()> {
    for (entry, name) in entries(folder).at(folder)? {
        if position(&name).is_some() && entry.metadata().at(folder)?.len() == 0 {
            fs::rename(entry.path(), folder.join(format!("{PREFIX}{name}{ASIDE}"))).at(folder)?;
        }
    }
    Ok(())
}

/// Remove what `set_empty_aside` has left.
pub fn remove_empty(folder: &Path) -> Result<()> {
    for (entry, name) in entries(folder).at(folder)? {
        if name.strip_suffix(ASIDE).and_then(position).is_some() && entry.metadata().at(folder)?.len() == 0 {
            remove_if_present(&entry.path()).at(folder)?;
        }
    }
    Ok(())
}

/// Give the snapshots that sled has written the permissions of the other files.
pub fn restrict(folder: &Path, mode: Mode) -> io::Result<()> {
    entries(folder)?.iter().try_for_each(|(entry, _)| mode.apply(&open_file(&entry.path())?))
}

/// The files that begin like a snapshot, with the rest of their names.
fn entries(folder: &Path) -> io::Result<Vec<(DirEntry, String)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name: OsString = entry.file_name();
        if let Some(rest) = name.to_string_lossy().strip_prefix(PREFIX) {
            found.push((entry, rest.to_owned()));
        }
    }
    Ok(found)
}

fn position(name: &str) -> Option<u64> {
    u64::from_str_radix(name, 16).ok().filter(|_| name.len() == DIGITS)
}
