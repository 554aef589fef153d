//! The files in `blobs/`, where sled puts pages and values of more than about 128 KB. It never waits for the disk to
//! have them, so an fsync has to.

use std::{
    collections::HashSet,
    ffi::OsString,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

pub struct Blobs {
    folder: PathBuf,
    /// sled writes a blob once and never changes it.
    synced: Mutex<HashSet<OsString>>,
}

impl Blobs {
    pub fn of(database: &Path) -> Self {
        Blobs { folder: database.join("blobs"), synced: Mutex::default() }
    }

    /// Wait until the disk has all that are there.
    pub fn sync(&self) -> io::Result<()> {
        let mut synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        let names = fs::read_dir(&self.folder)?.map(|entry| Ok(entry?.file_name()));
        let names = names.collect::<io::Result<HashSet<_>>>()?;
        let mut is_any_new = false;
        for name in names.difference(&synced) {
            match File::open(self.folder.join(name)) {
                Ok(file) => file.sync_all()?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue, // sled has removed it meanwhile
                Err(error) => return Err(error),
            }
            is_any_new = true;
        }
        if is_any_new {
            File::open(&self.folder)?.sync_all()?;
        }
        *synced = names;
        Ok(())
    }
}
