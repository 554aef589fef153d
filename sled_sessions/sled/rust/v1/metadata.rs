//! Checking the metadata of sled 1.0, which says where all other data is, before sled reads it.
//!
//! `metadata/snapshot_N` is a single frame that covers all logs up to N. The logs after it, numbered without a gap, are
//! rows of frames; each frame is on the disk before the next is written. On opening, sled combines all that into the
//! next snapshot and begins an empty log. It takes the first frame that it cannot read for the end of its log and does
//! not notice a missing file, so damage there silently costs what it named, or everything.
//!
//! A kill leaves at most an incomplete frame at the end of the newest log. A newest log that was cut short looks the
//! same, and its loss cannot be noticed while an older one is present.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, ErrorKind, Read},
    path::Path,
};

use crate::{
    disk::{files::lock_file, regular},
    error::{At, Result},
    v1::damaged_v1,
};

/// Six bytes of length, and two bytes of their CRC-32.
const HEADER: usize = 8;

/// The CRC-32 of header and content.
const TRAILER: usize = 4;

/// The number of slabs, files for pages of a certain size each. A place in one has the slab's number, from 1 on, in its
/// first byte.
const SLABS: u64 = 78;
const SLAB_SHIFT: u32 = 56;

/// Return an error if the metadata is damaged in a way that sled would not notice and lose data by.
pub fn check_metadata(folder: &Path) -> Result<()> {
    // Only under the lock, because a running process may be writing.
    let lock = File::open(folder).at(folder)?;
    lock_file(&lock, folder)?;
    let metadata = folder.join("metadata");
    let snapshots = numbers(&metadata, "snapshot_").at(&metadata)?;
    let logs = numbers(&metadata, "log_").at(&metadata)?;
    let Some(snapshot) = snapshots.last() else {
        // The snapshot is written first. Without any other file, creation was interrupted.
        return if logs.is_empty() && !has_data(folder) {
            Ok(())
        } else {
            Err(damaged_v1(folder, "the file metadata/snapshot_… is missing"))
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
            return Err(damaged_v1(folder, &what));
        }
        check_log(folder, &name, number == newest)?;
    }
    Ok(())
}

fn check_snapshot(folder: &Path, name: &str) -> Result<()> {
    let content = read_file(folder, name)?;
    match parse_frame(&content) {
        Frame::Whole(length) if is_sound(&content[..length]) => Ok(()),
        _ => Err(damaged_v1(folder, &format!("the file {name} is not what sled wrote"))),
    }
}

fn check_log(folder: &Path, name: &str, is_newest: bool) -> Result<()> {
    let content = read_file(folder, name)?;
    let mut rest = content.as_slice();
    while !rest.is_empty() {
        match parse_frame(rest) {
            Frame::Whole(length) if is_sound(&rest[..length]) => rest = &rest[length..],
            Frame::CutOff if is_newest => break,
            _ => {
                let place = content.len() - rest.len();
                let what =
                    format!("the file {name} is, at byte {place} (cut off there, it opens without what follows)");
                return Err(damaged_v1(folder, &what));
            }
        }
    }
    Ok(())
}

enum Frame {
    /// Its length in bytes.
    Whole(usize),
    /// Its beginning may be right.
    CutOff,
    Wrong,
}

/// The frame at the beginning of `bytes`.
fn parse_frame(bytes: &[u8]) -> Frame {
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

/// Whether sled can read the entries of a whole frame: it aborts the process where a length or a slab cannot be. Each has
/// the numbers of an object, of its tree, and of its slab and slot, then the length of a key, and the key.
fn is_sound(frame: &[u8]) -> bool {
    let Ok(mut entries) = zstd::Decoder::new(&frame[HEADER..frame.len() - TRAILER]) else { return false };
    loop {
        let mut numbers = [0; 32];
        match entries.read_exact(&mut numbers) {
            Err(error) => return error.kind() == ErrorKind::UnexpectedEof,
            Ok(()) => {
                let number = |at: usize| u64::from_le_bytes(numbers[at..at + 8].try_into().unwrap_or_default());
                let (object, place, length) = (number(0), number(16), number(24));
                let is_read =
                    io::copy(&mut entries.by_ref().take(length), &mut io::sink()).is_ok_and(|read| read == length);
                if object == 0 || !is_read || (place != 0 && !(1..=SLABS).contains(&(place >> SLAB_SHIFT))) {
                    return false;
                }
            }
        }
    }
}

/// The numbers in the names of the files with this prefix; they are hexadecimal.
fn numbers(metadata: &Path, prefix: &str) -> io::Result<BTreeSet<u64>> {
    let mut numbers = BTreeSet::new();
    let entries = match fs::read_dir(metadata) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(numbers),
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

fn read_file(folder: &Path, name: &str) -> Result<Vec<u8>> {
    let file = folder.join(name);
    regular::read_file(&file).at(&file)
}

#[cfg(test)]
#[path = "../../../../tests/engine/rust/metadata.rs"]
mod tests;
