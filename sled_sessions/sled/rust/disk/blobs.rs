//! The files in `blobs/`, where sled stores pages larger than a quarter of a segment. sled never fsyncs them.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsString,
    fs::{self, DirEntry, File},
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use crate::disk::{
    end::End,
    files::{remove_if_present, sync_folder},
    log::Log,
    private::Mode,
    regular::open_file,
    snapshot::Snapshot,
};

pub struct Blobs {
    database: PathBuf,
    folder: PathBuf,
    /// Each file's length when its last fsync began. sled writes a blob once, from beginning to end, so a file that has
    /// not grown since then is on the disk.
    synced: Mutex<HashMap<OsString, u64>>,
}

impl Blobs {
    pub fn of(database: &Path) -> Self {
        Blobs { database: database.to_owned(), folder: database.join("blobs"), synced: Mutex::default() }
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

    /// Remove the files that no page refers to. sled removes a replaced page's blob late or never.
    ///
    /// Call this under sled's lock, once it has opened the database and before anything is written: then its snapshot is
    /// the state from which it goes on, and from which it recovers. Every blob that it can still look for is named there,
    /// or is newer. Nothing is removed if the snapshot is unreadable or names a file that is missing.
    ///
    /// `db` is the log. First everything that a crash may have left unwritten is fsynced: after a power cut, an older
    /// state of the log would still name what is removed here.
    pub fn remove_unused(&self, db: &File) -> io::Result<()> {
        let files = self.files()?;
        if files.is_empty() {
            return Ok(());
        }
        let snapshot = Snapshot::read(&self.database)?;
        let named = snapshot.named_blobs();
        let unused: Vec<_> = files.keys().filter(|id| **id < snapshot.position && !named.contains(id)).collect();
        if unused.is_empty() || !named.iter().all(|id| files.contains_key(id)) {
            return Ok(());
        }
        // A clean close has fsynced all blobs up to the position that it noted.
        for (_, file) in
            files.range(End::read(&self.database).map_or(0, |end| end.position)..).filter(|(id, _)| named.contains(id))
        {
            open_file(&file.path())?.sync_all()?;
        }
        sync_folder(&self.folder)?;
        db.sync_all()?;
        sync_folder(&self.database)?;
        unused.into_iter().try_for_each(|id| remove_if_present(&files[id].path()))
    }

    /// The bytes of all files, and of those that no page refers to. O(n) in the log's size. Approximate while sled is
    /// writing.
    pub fn sizes(&self, segment_size: usize) -> io::Result<(u64, u64)> {
        let files = self.files()?;
        if files.is_empty() {
            return Ok((0, 0));
        }
        let mut snapshot = Snapshot::read(&self.database)?;
        snapshot.catch_up(&Log::open(&self.database, segment_size)?)?;
        let named = snapshot.named_blobs();
        let (mut all, mut unused) = (0, 0);
        for (id, file) in files {
            let length = file.metadata().map_or(0, |file| file.len()); // sled may have just removed it
            all += length;
            if id < snapshot.position && !named.contains(&id) {
                unused += length;
            }
        }
        Ok((all, unused))
    }

    /// By the position after which sled names them. Other files in the folder are not sled's.
    fn files(&self) -> io::Result<BTreeMap<u64, DirEntry>> {
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let id = name.to_str().and_then(|name| name.parse::<u64>().ok().filter(|id| id.to_string() == name));
            if let Some(id) = id {
                files.insert(id, entry);
            }
        }
        Ok(files)
    }
}
