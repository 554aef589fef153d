//! Ids that never repeat, however often and whenever the process is killed.
//!
//! sled counts in memory and logs a mark for each million of ids. After a restart it continues two millions above the
//! newest mark in its log, but hands out that first million without waiting for a newer mark, so the next restart
//! may continue at the same place. Therefore the first million after a restart is skipped, which makes sled log a mark,
//! and the file `ids` notes a bound before any id at or above the earlier bound is handed out. A flush cannot do that:
//! inside a transaction it waits for the transaction. sled ignores the file.

use std::{
    path::{Path, PathBuf},
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use crate::{
    disk::{
        damaged,
        files::IDS,
        private::{Mode, replace_file},
        regular::read_file,
    },
    error::{At, Result},
    runtime::locks::lock,
};

/// sled's default `idgen_persist_interval`, which `open()` leaves as it is.
const INTERVAL: u64 = 1_000_000;

/// Skipping a million of ids takes 30 ms. The file of the same log is at most a few millions ahead of sled's counter.
const MOST_SKIPPED: u64 = 100 * INTERVAL;

pub struct Ids {
    folder: PathBuf,
    /// Of the file.
    mode: Mode,
    was_recovered: bool,
    /// Smaller ids may have been handed out before the database was opened. sled shows its counter only by counting, so
    /// the first id sets this.
    first: OnceLock<u64>,
    /// Ids below this bound need no new note.
    noted: AtomicU64,
    noting: Mutex<()>,
}

impl Ids {
    pub fn new(folder: &Path, mode: Mode, was_recovered: bool) -> Self {
        let folder = folder.to_owned();
        Ids { folder, mode, was_recovered, first: OnceLock::new(), noted: AtomicU64::new(0), noting: Mutex::new(()) }
    }

    /// The next id. `draw` takes one from sled.
    pub fn next(&self, draw: impl Fn() -> Result<u64>) -> Result<u64> {
        let mut id = draw()?;
        let first = *self.first.get_or_init(|| self.first_after(id));
        if first.saturating_sub(id) > MOST_SKIPPED {
            let what = "the file ids is of another log (if no id of that log is in use, delete the file)";
            return Err(damaged(&self.folder, what));
        }
        while id < first {
            id = draw()?;
        }
        if id >= self.noted.load(SeqCst) {
            self.note(following(id))?;
        }
        Ok(id)
    }

    fn first_after(&self, drawn: u64) -> u64 {
        let text = read_file(&self.folder.join(IDS)).unwrap_or_default();
        let noted = str::from_utf8(&text).ok().and_then(|text| u64::from_str_radix(text, 16).ok()).unwrap_or(0);
        if self.was_recovered { following(drawn).max(noted) } else { 0 }
    }

    fn note(&self, bound: u64) -> Result<()> {
        let _turn = lock(&self.noting);
        if bound > self.noted.load(SeqCst) {
            let file = self.folder.join(IDS);
            replace_file(&file, &format!("{bound:016X}"), self.mode).at(&file)?;
            self.noted.store(bound, SeqCst);
        }
        Ok(())
    }
}

/// The beginning of the next million.
fn following(id: u64) -> u64 {
    (id / INTERVAL + 1) * INTERVAL
}
