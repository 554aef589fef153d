//! Making a database: until it is whole on the disk, a mark tells it from one that has lost its files.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use crate::{
    conf::stored_config,
    error::Result,
    files::{at, lock_file, remove_if_there, sync_folder},
    log::END,
};

/// The mark of a database that is being made.
pub const CREATING: &str = "creating";

/// A database that nothing has been written to yet. The mark tells one whose making was cut off from one that lost its
/// file `db`; its lock keeps others away until sled's own does.
pub struct Creation {
    mark: PathBuf,
    _lock: File,
}

impl Creation {
    pub fn begin(path: &Path) -> Result<Option<Self>> {
        let mark = path.join(CREATING);
        let is_new = || {
            let is_marked = mark.exists() && !path.join(END).exists();
            let is_empty = fs::metadata(path.join("db")).map_or(true, |file| file.len() == 0);
            (is_empty && (is_marked || !path.join("conf").exists())) || (is_marked && is_unfinished(path))
        };
        let remove = |name: &str| remove_if_there(&path.join(name)).map_err(|error| at(error, path));
        if !is_new() {
            // Whoever made it was killed when only the mark was left to remove. Later the mark would lie.
            return if mark.exists() { remove(CREATING).map(|()| None) } else { Ok(None) };
        }
        let lock = File::create(&mark).map_err(|error| at(error, &mark))?;
        lock_file(&lock, path)?;
        if !is_new() {
            return remove(CREATING).map(|()| None); // somebody has finished it meanwhile
        }
        sync_folder(path).map_err(|error| at(error, path))?; // a power cut must not leave the rest without the mark
        remove("conf")?; // it may be half written
        remove("db")?;
        remove(END)?; // it speaks of another log
        Ok(Some(Creation { mark, _lock: lock }))
    }

    /// Call it when the disk has the file `db`. What leads to it, and what sled needs to read it, must be there as well.
    pub fn end(self) -> Result<()> {
        let folder = self.mark.parent().unwrap_or(Path::new("."));
        let around = folder.parent().unwrap_or(folder);
        let conf = folder.join("conf");
        File::open(&conf).and_then(|file| file.sync_all()).map_err(|error| at(error, &conf))?;
        for folder in [folder, around] {
            sync_folder(folder).map_err(|error| at(error, folder))?;
        }
        remove_if_there(&self.mark).map_err(|error| at(error, &self.mark))
    }
}

/// Is this what a power cut may leave of a database that was being made? Nobody had opened it yet.
fn is_unfinished(path: &Path) -> bool {
    let db = path.join("db");
    let is_short = fs::metadata(&db).is_ok_and(|file| file.len() <= 4096);
    let is_blank = || fs::read(&db).is_ok_and(|content| content.iter().all(|byte| *byte == 0));
    is_short && (is_blank() || !matches!(stored_config(path), Ok(Some(_))))
}
