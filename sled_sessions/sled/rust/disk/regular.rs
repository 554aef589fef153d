//! Reading a database's files: regular files only.
//!
//! A FIFO or a device in place of one would block for ever, a symbolic link leads to what does not belong to the
//! database, and a sparse file can be longer than any disk.

use std::{
    fs::{self, DirEntry, File, OpenOptions},
    io::{self, ErrorKind, Read},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use rustix::{
    fs::{OFlags, SeekFrom, seek},
    io::Errno,
};

use crate::{
    disk::damaged,
    error::{At, Result},
};

/// The longest hole in a file that sled may have written: its unfinished segments, and what a power cut has left out.
pub const LONGEST_HOLE: u64 = 1 << 30;

/// Open an existing file for reading.
pub fn open_file(path: &Path) -> io::Result<File> {
    open_with(OpenOptions::new().read(true), path)
}

/// The file's content.
pub fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = open_file(path)?;
    refuse_holes(&file)?;
    let mut content = Vec::new();
    file.read_to_end(&mut content)?;
    Ok(content)
}

/// Open a file neither through a symbolic link nor blocking; an error if it is not a regular one.
pub fn open_with(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    match options.custom_flags(flags.bits().cast_signed()).open(path) {
        Ok(file) if file.metadata()?.is_file() => Ok(file),
        Ok(_) => Err(not_regular(OTHER)),
        // A link, a socket, or a FIFO without a reader.
        Err(error) => Err(check_kind(path).err().unwrap_or(error)),
    }
}

/// The names that a version of sled, or this crate, opens in a database's folder.
pub struct Layout {
    pub is_file: fn(&str) -> bool,
    pub folders: &'static [&'static str],
    /// Whether sled leaves holes of any length in its files.
    pub has_holes: bool,
}

/// Return an error if one of the names that sled will open is not what sled creates under it.
pub fn check_layout(database: &Path, layout: &Layout) -> Result<()> {
    for entry in entries(database)? {
        let (name, path) = (entry.file_name(), entry.path());
        let name = name.to_string_lossy();
        if layout.folders.contains(&&*name) {
            if !entry.file_type().at(&path)?.is_dir() {
                return Err(not_regular("this is not a folder")).at(&path);
            }
            for entry in entries(&path)? {
                check_file(database, &entry.path(), layout)?;
            }
        } else if (layout.is_file)(&name) {
            check_file(database, &path, layout)?;
        }
    }
    Ok(())
}

fn entries(folder: &Path) -> Result<Vec<DirEntry>> {
    fs::read_dir(folder).and_then(Iterator::collect).at(folder)
}

fn check_file(database: &Path, path: &Path, layout: &Layout) -> Result<()> {
    let length = match check_kind(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()), // a running process has removed it
        length => length.at(path)?,
    };
    if layout.has_holes || length <= LONGEST_HOLE {
        return Ok(());
    }
    match open_file(path).and_then(|file| refuse_holes(&file)) {
        Err(error) if error.kind() == ErrorKind::InvalidData => {
            let name = path.strip_prefix(database).unwrap_or(path);
            Err(damaged(database, &format!("of the file {}, {error}", name.display())))
        }
        other => other.at(path),
    }
}

/// An error if the file is so sparse that reading its holes would take for ever.
pub fn refuse_holes(file: &File) -> io::Result<()> {
    let length = file.metadata()?.len();
    let mut at = 0;
    while length - at > LONGEST_HOLE {
        let data = next_data(file, at, length)?;
        if data - at > LONGEST_HOLE {
            return Err(io::Error::new(
                ErrorKind::InvalidData,
                format!("{} bytes in a row were never written", data - at),
            ));
        }
        // Holes that begin earlier than this are short enough.
        at = next_hole(file, data, length)?;
    }
    Ok(())
}

/// Where data begins at or after `offset` in a file of this length.
pub fn next_data(file: &File, offset: u64, length: u64) -> io::Result<u64> {
    match seek(file, SeekFrom::Data(offset)) {
        Err(Errno::NXIO) => Ok(length),
        Err(Errno::INVAL | Errno::NOTSUP) => Ok(offset), // the file system does not tell
        found => Ok(found?.min(length)),
    }
}

fn next_hole(file: &File, offset: u64, length: u64) -> io::Result<u64> {
    match seek(file, SeekFrom::Hole(offset)) {
        Err(Errno::NXIO | Errno::INVAL | Errno::NOTSUP) => Ok(length),
        found => Ok(found?.min(length)),
    }
}

/// The length of a regular file; an error for anything else.
fn check_kind(path: &Path) -> io::Result<u64> {
    let metadata = fs::symlink_metadata(path)?;
    if metadata.is_file() {
        Ok(metadata.len())
    } else if metadata.is_symlink() {
        Err(not_regular("this is a symbolic link (a link to the whole folder would do)"))
    } else {
        Err(not_regular(OTHER))
    }
}

const OTHER: &str = "this is not a regular file";

fn not_regular(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, format!("a database has only folders and files, and {what}"))
}
