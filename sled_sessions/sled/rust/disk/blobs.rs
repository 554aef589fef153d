//! The files in `blobs/`, where sled stores pages larger than a quarter of a segment. sled never fsyncs them.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs::{self, DirEntry},
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use crate::disk::{files::sync_folder, private::Mode, regular::open_file};

pub struct Blobs {
    folder: PathBuf,
    /// Each file's length when its last fsync began. sled writes a blob once, from beginning to end, so a file that has
    /// not grown since then is on the disk.
    synced: Mutex<HashMap<OsString, u64>>,
}

impl Blobs {
    pub fn of(database: &Path) -> Self {
        Blobs { folder: database.join("blobs"), synced: Mutex::default() }
    }

    /// Wait until all current files are on the disk.
    pub fn sync(&self, mode: Mode) -> io::Result<()> {
        let mut synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = |name: &OsString, length: &u64| synced.get(name) != Some(length);
        let sync_file = |entry: &DirEntry| -> io::Result<u64> {
            let length = entry.metadata()?.len();
            if is_new(&entry.file_name(), &length) {
                let file = open_file(&entry.path())?;
                mode.apply(&file)?;
                file.sync_all()?;
            }
            Ok(length)
        };
        let mut found = HashMap::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            match sync_file(&entry) {
                Ok(length) => drop(found.insert(entry.file_name(), length)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {} // sled has just removed it
                Err(error) => return Err(error),
            }
        }
        if found.iter().any(|(name, length)| is_new(name, length)) {
            sync_folder(&self.folder)?;
        }
        *synced = found;
        Ok(())
    }
}
