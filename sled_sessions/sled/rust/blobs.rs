//! The files in `blobs/`, where sled puts pages of more than a quarter of a segment. It never waits for the disk to have
//! them, so an fsync has to.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs::{self, DirEntry, File},
    io,
    path::{Path, PathBuf},
    sync::Mutex,
};

use crate::{files::sync_folder, locks::lock};

pub struct Blobs {
    folder: PathBuf,
    /// How long a file was when an fsync of it began. sled writes a blob once, from its beginning to its end, so one that
    /// has not grown since is on the disk.
    synced: Mutex<HashMap<OsString, u64>>,
}

impl Blobs {
    pub fn of(database: &Path) -> Self {
        Blobs { folder: database.join("blobs"), synced: Mutex::default() }
    }

    /// Wait until the disk has all that are there.
    pub fn sync(&self) -> io::Result<()> {
        let mut synced = lock(&self.synced);
        let is_new = |name: &OsString, length: &u64| synced.get(name) != Some(length);
        let sync_file = |entry: &DirEntry| -> io::Result<u64> {
            let length = entry.metadata()?.len();
            if is_new(&entry.file_name(), &length) {
                File::open(entry.path())?.sync_all()?;
            }
            Ok(length)
        };
        let mut found = HashMap::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            match sync_file(&entry) {
                Ok(length) => drop(found.insert(entry.file_name(), length)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {} // sled has removed it meanwhile
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
