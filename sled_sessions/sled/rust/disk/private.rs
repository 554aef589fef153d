//! Creating a database's files and folders: with the permissions that the database has, whatever the umask, and never
//! through a symbolic link.
//!
//! sled creates files of its own with the umask's permissions. `db`, which has all keys and most values, is created
//! here before sled opens it, as is the folder `blobs`. Blobs and snapshots get their permissions later; until then a
//! blob is protected by its folder, and a snapshot holds no keys or values.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

use crate::disk::{
    files::{remove_if_present, sync_folder},
    regular::open_with,
};

/// The permissions of a new database's files; its folders are for the same users.
#[derive(Clone, Copy)]
pub struct Mode(u32);

impl Mode {
    pub const PRIVATE: Self = Mode(0o600);

    /// None unless the owner may read and write, and it has only bits for reading and writing.
    pub fn new(mode: u64) -> Option<Self> {
        let mode = u32::try_from(mode).ok()?;
        (mode & 0o600 == 0o600 && mode & !0o666 == 0).then_some(Mode(mode))
    }

    /// That of an existing database, whose files may be younger than the file `db`.
    pub fn of(database: &Path) -> io::Result<Self> {
        Ok(Mode(fs::metadata(database.join("db"))?.mode() & 0o666 | 0o600))
    }

    /// Who may read a folder's files may enter it.
    fn of_folder(self) -> u32 {
        self.0 | (self.0 & 0o444) >> 2
    }

    /// Give them to a file, unless it has them already: only its owner may change them.
    pub fn apply(self, file: &File) -> io::Result<()> {
        if file.metadata()?.mode() & 0o7777 == self.0 {
            return Ok(());
        }
        file.set_permissions(Permissions::from_mode(self.0))
    }
}

/// Open a file for writing, creating it if it is missing.
pub fn create_file(path: &Path, mode: Mode) -> io::Result<File> {
    let file = open_with(OpenOptions::new().write(true).create(true).mode(mode.0), path)?;
    mode.apply(&file)?;
    Ok(file)
}

/// Create a folder, which must not exist.
pub fn create_folder(path: &Path, mode: Mode) -> io::Result<()> {
    DirBuilder::new().mode(mode.of_folder()).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(mode.of_folder()))
}

/// Put a file with this content in place of `path`, which even a power cut leaves as it was or with all of `text`.
pub fn replace_file(path: &Path, text: &str, mode: Mode) -> io::Result<()> {
    let new = path.with_extension("new");
    remove_if_present(&new)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode.0).open(&new)?;
    mode.apply(&file)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    sync_folder(path.parent().unwrap_or(Path::new(".")))
}
