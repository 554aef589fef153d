//! The log of sled 0.34, read without sled: to see whether it is whole before sled gets it, and to salvage it.
//!
//! The file `db` is a row of segments, each with a header and then messages. A position in the log (LSN) never repeats:
//! segments are reused, so their order in the file is not that of the log. On opening, sled goes through the log from
//! its last snapshot on and takes the first message that it cannot read for the end that a crash left, or skips the
//! rest of the segment. Both is right after a crash, and loses data without a word after damage.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    ops::Range,
    os::unix::fs::FileExt,
    path::Path,
};

use crate::{
    config::stored_config,
    error::{Error, Result},
};

/// CRC-32, position, and up to which position the log was on disk when this segment was begun.
const SEGMENT_HEADER: usize = 20;

/// No message begins closer than this to the end of its segment.
const LONGEST_MESSAGE_HEADER: usize = 32;

pub const CAP: u8 = 2;
pub const FREE: u8 = 4;
pub const META: u8 = 6;
pub const BLOB_META: u8 = 7;
pub const NODE: u8 = 8;
pub const BLOB_NODE: u8 = 9;
pub const LINK: u8 = 10;
pub const BLOB_LINK: u8 = 11;

pub struct Log {
    pub segment_size: usize,
    file: File,
}

/// A segment's place in the file, and what its header says if it can be read.
pub struct Segment {
    pub offset: u64,
    pub header: Option<Header>,
}

#[derive(Clone, Copy)]
pub struct Header {
    pub lsn: u64,
    pub stable: u64,
}

pub struct Message {
    pub kind: u8,
    pub page: u64,
    /// Counts segments in the order of the log.
    pub segment: u64,
    pub body: Range<usize>,
}

impl Log {
    pub fn open(folder: &Path, segment_size: usize) -> io::Result<Self> {
        Ok(Log { file: File::open(folder.join("db"))?, segment_size })
    }

    pub fn segments(&self) -> io::Result<Vec<Segment>> {
        let size = self.file.metadata()?.len();
        let count = size.div_ceil(self.segment_size as u64);
        (0..count)
            .map(|index| {
                let offset = index * self.segment_size as u64;
                let mut bytes = [0; SEGMENT_HEADER];
                let whole = self.read_into(&mut bytes, offset)? == SEGMENT_HEADER;
                Ok(Segment { offset, header: if whole { header(&bytes) } else { None } })
            })
            .collect()
    }

    /// A segment's bytes; fewer at the end of the file.
    pub fn read(&self, segment: &Segment) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.segment_size];
        let length = self.read_into(&mut bytes, segment.offset)?;
        bytes.truncate(length);
        Ok(bytes)
    }

    pub fn read_range(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    fn read_into(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut length = 0;
        while length < bytes.len() {
            match self.file.read_at(&mut bytes[length..], offset + length as u64)? {
                0 => break,
                more => length += more,
            }
        }
        Ok(length)
    }

    /// Where the first message of a segment is, and whether another one may begin at `at`.
    pub const fn first() -> usize {
        SEGMENT_HEADER
    }

    pub fn fits(&self, at: usize) -> bool {
        at + LONGEST_MESSAGE_HEADER <= self.segment_size
    }

    /// The next message behind something that is none.
    pub fn search(&self, bytes: &[u8], from: usize, accept: impl Fn(&Message) -> bool) -> Option<usize> {
        (from..bytes.len())
            .take_while(|at| self.fits(*at))
            .find(|at| message(bytes, *at).is_some_and(|message| accept(&message)))
    }
}

/// The message at `at` if its checksum is right.
pub fn message(bytes: &[u8], at: usize) -> Option<Message> {
    let head = bytes.get(at..)?;
    let (crc, rest) = head.split_first_chunk::<4>()?;
    let (&kind, mut rest) = rest.split_first()?;
    if !(1..=BLOB_LINK).contains(&kind) {
        return None;
    }
    let length = usize::try_from(varint(&mut rest)?).ok()?;
    let segment = varint(&mut rest)?;
    let page = varint(&mut rest)?;
    let header = head.len() - rest.len();
    let body = rest.get(..length)?;
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(body);
    hasher.update(&head[4..header]);
    let is_right = hasher.finalize() ^ u32::MAX == u32::from_le_bytes(*crc);
    is_right.then(|| Message { kind, page, segment, body: at + header..at + header + length })
}

fn header(bytes: &[u8; SEGMENT_HEADER]) -> Option<Header> {
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap_or_default()) ^ i64::MAX as u64;
    let crc = u32::from_le_bytes(bytes[..4].try_into().unwrap_or_default());
    let is_right = crc32fast::hash(&bytes[4..]) ^ u32::MAX == crc;
    // A log that has nothing on disk yet says -1.
    is_right.then(|| Header { lsn: number(4), stable: (number(12) as i64).max(0) as u64 })
}

/// sled's variable-length integers.
pub fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let (&first, rest) = bytes.split_first()?;
    let (value, length) = match first {
        0..=240 => (u64::from(first), 0),
        241..=248 => (240 + 256 * (u64::from(first) - 241) + u64::from(*rest.first()?), 1),
        249 => (2288 + 256 * u64::from(*rest.first()?) + u64::from(*rest.get(1)?), 2),
        _ => {
            let length = usize::from(first) - 247;
            let mut value = [0; 8];
            value[..length].copy_from_slice(rest.get(..length)?);
            (u64::from_le_bytes(value), length)
        }
    };
    *bytes = &rest[length..];
    Some(value)
}

/// Refuse a database whose files are damaged in a way that sled would not notice and lose data by.
///
/// It costs a look at each segment's header, and a second reading of what sled is going to read anyway: the log since
/// the last snapshot, which sled writes on opening. What lies before it is checked by sled when it is read.
pub fn check(folder: &Path, segment_size: usize) -> Result<()> {
    let at = |error: io::Error| Error::SledAt(error.into(), folder.join("db"));
    let snapshot = last_snapshot(folder).map_err(at)?;
    let log = match Log::open(folder, segment_size) {
        Ok(log) => log,
        Err(error) if error.kind() == io::ErrorKind::NotFound && folder.join("conf").exists() => {
            return Err(damaged(folder, "the file db is missing"));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(at(error)),
    };
    let segments = log.segments().map_err(at)?;
    if segments.is_empty() && folder.join("conf").exists() {
        return Err(damaged(folder, "the file db is empty (if the database was never used, delete the folder)"));
    }
    let is_headless = !segments.is_empty() && segments.iter().all(|segment| segment.header.is_none());
    if is_headless && is_blank(&log, &segments).map_err(at)? {
        return Err(damaged(folder, "the file db holds nothing but zeros"));
    }
    let size = segment_size as u64;
    let start = snapshot.unwrap_or(0);
    let stable = segments.iter().filter_map(|segment| segment.header).map(|header| header.stable).max().unwrap_or(0);
    let known: BTreeSet<u64> = segments.iter().filter_map(|segment| segment.header).map(|it| it.lsn / size).collect();
    // A header says up to where the log was on disk when its segment was begun, so that place must be there. Without
    // it sled takes the whole log for empty.
    let is_cut = stable > start && !known.contains(&(stable / size));
    let end = end_of(&log, &segments).map_err(at)?.max(start);
    if is_cut || noted_end(folder).is_some_and(|noted| noted > end) {
        return Err(damaged(folder, "the file db was cut short"));
    }
    for (index, segment) in segments.iter().enumerate() {
        let bytes = || log.read(segment).map_err(at);
        match segment.header {
            Some(header) if header.lsn + size <= start => {}
            Some(header) => {
                let from = (start.saturating_sub(header.lsn) as usize).max(SEGMENT_HEADER);
                if let Some(place) = damage_in(&log, &bytes()?, from, header, stable) {
                    return Err(damaged(folder, &format!("the file db is, at byte {}", segment.offset + place as u64)));
                }
            }
            None => {
                // Segments are first used in the order of the file. If what came before one behind it was on disk, then
                // so was this one. Once the database was reopened, sled's own recovery may have emptied it.
                let was_written = snapshot.is_none()
                    && segments[index + 1..].iter().any(|later| later.header.is_some_and(|it| it.lsn <= stable));
                let bytes = bytes()?;
                let lost = log.search(&bytes, SEGMENT_HEADER, |message| {
                    message.segment * size + size > start && !known.contains(&message.segment)
                });
                let is_unwritten = bytes.iter().take(SEGMENT_HEADER).all(|byte| *byte == 0)
                    && lost.and_then(|place| message(&bytes, place)).is_none_or(|it| it.segment * size >= stable);
                if was_written || (lost.is_some() && !is_unwritten) {
                    let what = format!("the file db is, at byte {}, or the file snap.… was lost", segment.offset);
                    return Err(damaged(folder, &what));
                }
            }
        }
    }
    Ok(())
}

/// The file where a clean close notes how far the log goes; a log never gets shorter than it was then.
const END: &str = "end";

/// Note where the log ends, so that the next open can tell a file that was cut short from one that a crash left. Only
/// for a database that is flushed, under its lock. It is a help, so it may fail.
pub fn note_end(folder: &Path) {
    let end = || {
        let segment_size = stored_config(folder).ok()??;
        let log = Log::open(folder, segment_size).ok()?;
        end_of(&log, &log.segments().ok()?).ok()
    };
    if let Some(end) = end() {
        let _ = fs::write(folder.join(END), format!("{end:016X}"));
    }
}

pub fn noted_end(folder: &Path) -> Option<u64> {
    let text = fs::read_to_string(folder.join(END)).ok().filter(|text| text.len() == 16)?;
    u64::from_str_radix(&text, 16).ok()
}

/// The position behind the newest message.
fn end_of(log: &Log, segments: &[Segment]) -> io::Result<u64> {
    let newest = segments.iter().filter_map(|segment| Some((segment.header?.lsn, segment))).max_by_key(|(lsn, _)| *lsn);
    let Some((lsn, segment)) = newest else { return Ok(0) };
    let bytes = log.read(segment)?;
    let mut at = SEGMENT_HEADER;
    while let Some(message) =
        message(&bytes, at).filter(|it| log.fits(at) && it.segment == lsn / log.segment_size as u64)
    {
        at = message.body.end;
    }
    Ok(lsn + at as u64)
}

fn is_blank(log: &Log, segments: &[Segment]) -> io::Result<bool> {
    for segment in segments {
        if log.read(segment)?.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The first place in a segment where a message should be and is not, unless a crash explains it.
fn damage_in(log: &Log, bytes: &[u8], from: usize, header: Header, stable: u64) -> Option<usize> {
    let number = header.lsn / log.segment_size as u64;
    let mut at = from;
    while log.fits(at) {
        match message(bytes, at) {
            Some(message) if message.segment == number && message.kind == CAP => return None,
            Some(message) if message.segment == number => at = message.body.end,
            _ => {
                // The segment may have been freed, and its end written anew before its header when the crash came.
                let is_reused = || log.search(bytes, at, |message| message.segment > number).is_some();
                if header.lsn + (at as u64) < stable {
                    return (!is_reused()).then_some(at);
                }
                // The end of the log. Its last buffers may reach the disk in any order, so messages may come after a
                // gap, in which lies what was there before: nothing, or messages of an earlier use.
                let next = log.search(bytes, at, |message| message.segment == number)?;
                let gap = &bytes[at..next];
                let is_gap = gap.iter().all(|byte| *byte == 0)
                    || log.search(bytes, at, |message| message.segment < number).is_some_and(|old| old < next);
                return (!is_gap && !is_reused()).then_some(at);
            }
        }
    }
    None
}

/// Up to which position of the log the newest snapshot goes; sled names the file after it.
pub fn last_snapshot(folder: &Path) -> io::Result<Option<u64>> {
    let mut last = None;
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let position = name.to_str().and_then(|name| name.strip_prefix("snap."));
        last = last.max(position.and_then(|position| u64::from_str_radix(position, 16).ok()));
    }
    Ok(last)
}

pub fn damaged(folder: &Path, what: &str) -> Error {
    Error::Damaged(format!(
        "{} is damaged: {what}. Restore a backup (sled-sessions restore), or copy what can still be read \
         (sled-sessions salvage)",
        folder.display()
    ))
}
