//! Creating a database. Until all its files are on the disk, the file `creating` tells an unfinished database from one
//! that has lost its files.

use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use crate::{
    disk::{
        conf::stored_segment_size,
        end::END,
        files::{IDS, lock_file, remove_if_present, sync_folder},
        private::{Mode, create_file, create_folder},
        regular::{Layout, open_file, read_file},
    },
    error::{At, Error, Result},
};

pub const CREATING: &str = "creating";

/// The files of sled 0.34, `creating`, `end` and `ids`.
pub const V0_34: Layout = Layout {
    is_file: |name| matches!(name, "conf" | "db" | END | IDS | CREATING) || name.starts_with("snap."),
    folders: &["blobs"],
    has_holes: false,
};

/// Create the folder if it is missing; return its absolute path without symbolic links. sled looks up files by path
/// as long as it is open, even after a `chdir`.
pub fn prepare_folder(path: &Path, temporary: bool, mode: Mode) -> Result<PathBuf> {
    if path.is_file() {
        let what = io::Error::new(ErrorKind::NotADirectory, "a database is a folder, and this is a file");
        return Err(what).at(path);
    }
    if temporary && fs::read_dir(path).is_ok_and(|mut files| files.next().is_some()) {
        let what = format!("temporary=True would delete {}, which already contains files", path.display());
        return Err(Error::Misuse(what));
    }
    let missing = path.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists());
    let mut missing: Vec<_> = missing.map(Path::to_owned).collect();
    missing.reverse();
    for folder in &missing {
        match create_folder(folder, mode) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {} // another process was faster, or `a/..`
            created => created.at(folder)?,
        }
    }
    let absolute = path.canonicalize().at(path)?;
    for parent in absolute.ancestors().skip(1).take(missing.len()) {
        sync_folder(parent).at(parent)?;
    }
    Ok(absolute)
}

/// A database that is being created. The lock on its mark keeps other processes away until sled takes its own lock.
pub struct Creation {
    mark: PathBuf,
    _lock: File,
}

impl Creation {
    /// Begin if there is no database in the folder, or only one whose creation was interrupted.
    pub fn begin(path: &Path, mode: Mode) -> Result<Option<Self>> {
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
        let lock = create_file(&mark, mode).at(&mark)?;
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
        open_file(&conf).and_then(|file| file.sync_all()).at(&conf)?;
        for folder in [folder, folder.parent().unwrap_or(folder)] {
            sync_folder(folder).at(folder)?;
        }
        remove_if_present(&self.mark).at(&self.mark)
    }
}

/// Create what sled would create with the umask's permissions. sled fills files that are empty.
pub fn create_files(path: &Path, mode: Mode) -> Result<()> {
    for file in ["conf", "db"].map(|name| path.join(name)) {
        create_file(&file, mode).at(&file)?;
    }
    let blobs = path.join("blobs");
    match create_folder(&blobs, mode) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        created => created.at(&blobs),
    }
}

/// Whether a power cut during creation may have left these files. Such a database holds no data yet.
fn is_unfinished(path: &Path) -> bool {
    let db = path.join("db");
    let is_short = fs::metadata(&db).is_ok_and(|file| file.len() <= 4096);
    let is_blank = || read_file(&db).is_ok_and(|content| content.iter().all(|byte| *byte == 0));
    is_short && (is_blank() || !matches!(stored_segment_size(path), Ok(Some(_))))
}
