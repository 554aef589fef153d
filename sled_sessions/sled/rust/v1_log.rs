//! The metadata of sled 1.0, looked through before sled gets it: it says where everything else lies.
//!
//! `metadata/snapshot_N` is a single frame that has all up to log N. The logs behind it, without a gap, are rows of
//! frames; each is on the disk before the next is written. On opening, sled makes the next snapshot of all that and begins
//! an empty log. It takes the first frame of a log that it cannot read for the log's end, and does not miss a file: damage
//! there costs what it named, or everything, without a word.
//!
//! A kill leaves a frame that the end of the newest log cuts off, and nothing else. So does a newest log that was cut
//! short: that cannot be told, nor can the loss of the newest log while an older one is there.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    path::Path,
};

use crate::{
    error::{Error, Result},
    files::{at, lock_file},
};

/// Six bytes of length, and two of their CRC-32.
const HEADER: usize = 8;

/// CRC-32 of header and content.
const TRAILER: usize = 4;

/// Refuse a database whose metadata is damaged in a way that sled would not notice and lose data by.
pub fn check(folder: &Path) -> Result<()> {
    // Only under the lock, for a running process may be writing.
    let lock = File::open(folder).map_err(|error| at(error, folder))?;
    lock_file(&lock, folder)?;
    let metadata = folder.join("metadata");
    let snapshots = numbers(&metadata, "snapshot_").map_err(|error| at(error, &metadata))?;
    let logs = numbers(&metadata, "log_").map_err(|error| at(error, &metadata))?;
    let Some(snapshot) = snapshots.last() else {
        // It is written before anything else, so without it there is a database whose making was cut off.
        return if logs.is_empty() && !has_data(folder) {
            Ok(())
        } else {
            Err(damaged(folder, "the file metadata/snapshot_… is missing"))
        };
    };
    check_snapshot(folder, &format!("metadata/snapshot_{snapshot:016x}"))?;
    let first = snapshot.wrapping_add(1);
    let newest = logs.last().copied().unwrap_or(0).max(first);
    for number in first..=newest {
        let name = format!("metadata/log_{number:016x}");
        if !logs.contains(&number) {
            let what = format!(
                "the file {name} is missing (if a process was killed while it opened the database, make an empty one)"
            );
            return Err(damaged(folder, &what));
        }
        check_log(folder, &name, number == newest)?;
    }
    Ok(())
}

fn check_snapshot(folder: &Path, name: &str) -> Result<()> {
    match frame(&read(folder, name)?) {
        Frame::Whole(_) => Ok(()),
        _ => Err(damaged(folder, &format!("the file {name} is not what was written"))),
    }
}

fn check_log(folder: &Path, name: &str, is_newest: bool) -> Result<()> {
    let content = read(folder, name)?;
    let mut rest = content.as_slice();
    while !rest.is_empty() {
        match frame(rest) {
            Frame::Whole(length) => rest = &rest[length..],
            Frame::CutOff if is_newest => break,
            _ => {
                let place = content.len() - rest.len();
                let what =
                    format!("the file {name} is, at byte {place} (cut off there, it opens without what follows)");
                return Err(damaged(folder, &what));
            }
        }
    }
    Ok(())
}

enum Frame {
    /// It has so many bytes.
    Whole(usize),
    /// What there is of it may be right.
    CutOff,
    Wrong,
}

/// The frame at the beginning of `bytes`.
fn frame(bytes: &[u8]) -> Frame {
    let Some((&[a, b, c, d, e, f, crc @ ..], _)) = bytes.split_first_chunk::<HEADER>() else {
        return Frame::CutOff;
    };
    if crc32fast::hash(&bytes[..HEADER - crc.len()]) as u16 != u16::from_le_bytes(crc) {
        return Frame::Wrong;
    }
    let end = usize::try_from(u64::from_le_bytes([a, b, c, d, e, f, 0, 0])).unwrap_or(usize::MAX);
    let end = end.saturating_add(HEADER);
    match bytes.get(end..).and_then(|rest| rest.first_chunk::<TRAILER>()) {
        None => Frame::CutOff,
        Some(crc) if crc32fast::hash(&bytes[..end]) ^ 0xAF == u32::from_le_bytes(*crc) => Frame::Whole(end + TRAILER),
        Some(_) => Frame::Wrong,
    }
}

/// The numbers of the files of this kind; sled names them in hexadecimal.
fn numbers(metadata: &Path, prefix: &str) -> io::Result<BTreeSet<u64>> {
    let mut numbers = BTreeSet::new();
    let entries = match fs::read_dir(metadata) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(numbers),
        entries => entries?,
    };
    for entry in entries {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(prefix));
        numbers.extend(number.and_then(|number| u64::from_str_radix(number, 16).ok()));
    }
    Ok(numbers)
}

fn has_data(folder: &Path) -> bool {
    let has_bytes = |slab: fs::DirEntry| slab.metadata().is_ok_and(|metadata| metadata.len() > 0);
    fs::read_dir(folder.join("slabs")).is_ok_and(|slabs| slabs.flatten().any(has_bytes))
}

fn read(folder: &Path, name: &str) -> Result<Vec<u8>> {
    fs::read(folder.join(name)).map_err(|error| at(error, &folder.join(name)))
}

pub fn damaged(folder: &Path, what: &str) -> Error {
    Error::Damaged(format!("{} is damaged: {what}. Restore a backup", folder.display()))
}
