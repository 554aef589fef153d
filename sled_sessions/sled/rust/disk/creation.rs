//! Creating a database. Until all its files are on the disk, the file `creating` tells an unfinished database from one
//! that has lost its files.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use crate::{
    disk::{
        conf::stored_segment_size,
        end::END,
        files::{IDS, lock_file, remove_if_present, sync_folder},
    },
    error::{At, Result},
};

pub const CREATING: &str = "creating";

/// A database that is being created. The lock on its mark keeps other processes away until sled takes its own lock.
pub struct Creation {
    mark: PathBuf,
    _lock: File,
}

impl Creation {
    /// Begin if there is no database in the folder, or only one whose creation was interrupted.
    pub fn begin(path: &Path) -> Result<Option<Self>> {
        let mark = path.join(CREATING);
        let is_new = || {
            let is_marked = mark.exists() && !path.join(END).exists();
            let is_empty = fs::metadata(path.join("db")).map_or(true, |file| file.len() == 0);
            (is_empty && (is_marked || !path.join("conf").exists())) || (is_marked && is_unfinished(path))
        };
        let remove = |name: &str| remove_if_present(&path.join(name)).at(path);
        if !is_new() {
            // The database is finished. A mark that a kill left behind would later hide the loss of its files.
            return if mark.exists() { remove(CREATING).map(|()| None) } else { Ok(None) };
        }
        let lock = File::create(&mark).at(&mark)?;
        lock_file(&lock, path)?;
        if !is_new() {
            return remove(CREATING).map(|()| None); // another process has just finished it
        }
        sync_folder(path).at(path)?; // a power cut must not leave the other files without the mark
        remove("conf")?; // may be incomplete
        remove("db")?;
        remove(END)?; // belongs to an earlier log
        remove(IDS)?; // the same
        Ok(Some(Creation { mark, _lock: lock }))
    }

    /// Remove the mark. Call this once the file `db` is on the disk; this syncs the file `conf` and the folders.
    pub fn end(self) -> Result<()> {
        let folder = self.mark.parent().unwrap_or(Path::new("."));
        let conf = folder.join("conf");
        File::open(&conf).and_then(|file| file.sync_all()).at(&conf)?;
        for folder in [folder, folder.parent().unwrap_or(folder)] {
            sync_folder(folder).at(folder)?;
        }
        remove_if_present(&self.mark).at(&self.mark)
    }
}

/// Whether a power cut during creation may have left these files. Such a database holds no data yet.
fn is_unfinished(path: &Path) -> bool {
    let db = path.join("db");
    let is_short = fs::metadata(&db).is_ok_and(|file| file.len() <= 4096);
    let is_blank = || fs::read(&db).is_ok_and(|content| content.iter().all(|byte| *byte == 0));
    is_short && (is_blank() || !matches!(stored_segment_size(path), Ok(Some(_))))
}
