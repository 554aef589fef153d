//! The log of sled 0.34: how the file `db` is laid out.
//!
//! The file is a row of segments, each a header followed by messages. A position in the log (LSN) never repeats, but
//! sled reuses segments, so their order in the file is not the log's order. A message that would be too long is a blob:
//! the log only names a file in `blobs/`.

use std::{
    fs::{self, File},
    io,
    ops::Range,
    os::unix::fs::FileExt,
    path::Path,
};

use crate::disk::{
    conf::{SEGMENT_SIZES, is_segment_size},
    regular::{next_data, open_file, read_file},
};

/// CRC-32, position, and the position before which the log was written when sled began this segment.
pub const SEGMENT_HEADER: usize = 20;

/// No message begins closer than this to the end of its segment.
const LONGEST_MESSAGE_HEADER: usize = 32;

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

/// A segment's offset in the file, and its header if that is readable.
pub struct Segment {
    pub offset: u64,
    pub header: Option<SegmentHeader>,
}

#[derive(Clone, Copy)]
pub struct SegmentHeader {
    pub lsn: u64,
    /// The kernel had everything before this position, without a gap, so no kill can lose it.
    pub stable: u64,
}

pub struct Message {
    pub kind: u8,
    pub page: u64,
    /// Counts segments in the order of the log.
    pub segment: u64,
    pub body: Range<usize>,
}

impl Message {
    pub fn is_blob(&self) -> bool {
        matches!(self.kind, BLOB_META | BLOB_NODE | BLOB_LINK)
    }

    /// Whether sled forgets all earlier messages of the page.
    pub fn replaces_its_page(&self) -> bool {
        matches!(self.kind, META | BLOB_META | NODE | BLOB_NODE | FREE)
    }
}

/// The consecutive messages of a segment, up to the first place that has no message of this segment.
pub struct Messages<'a> {
    log: &'a Log,
    bytes: &'a [u8],
    segment: u64,
    /// Where the next message would begin.
    pub at: usize,
}

impl Iterator for Messages<'_> {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        let found = parse_message(self.bytes, self.at)
            .filter(|message| self.log.fits(self.at) && message.segment == self.segment)?;
        self.at = found.body.end;
        Some(found)
    }
}

impl Log {
    pub fn open(folder: &Path, segment_size: usize) -> io::Result<Self> {
        Ok(Log { file: open_file(&folder.join("db"))?, segment_size })
    }

    /// The segments in the order of the file. A row of blank ones that are a hole, of any length in a sparse file, is
    /// left out after the first.
    pub fn segments(&self) -> io::Result<Vec<Segment>> {
        let (length, size) = (self.file.metadata()?.len(), self.segment_size as u64);
        let (mut segments, mut offset) = (Vec::new(), 0);
        while offset < length {
            let segment = self.segment_at(offset)?;
            let is_blank = segment.header.is_none();
            segments.push(segment);
            offset += size;
            if is_blank && offset < length {
                let data = next_data(&self.file, offset, length)?;
                offset = if data == length { length } else { data - data % size };
            }
        }
        Ok(segments)
    }

    fn segment_at(&self, offset: u64) -> io::Result<Segment> {
        let start = self.read_up_to(SEGMENT_HEADER, offset)?;
        Ok(Segment { offset, header: start.first_chunk().and_then(parse_header) })
    }

    /// A segment's bytes; fewer at the end of the file.
    pub fn read(&self, segment: &Segment) -> io::Result<Vec<u8>> {
        self.read_up_to(self.segment_size, segment.offset)
    }

    pub fn read_range(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    /// The bytes at `offset`; fewer than `most` only at the end of the file.
    pub fn read_up_to(&self, most: usize, offset: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; most];
        let mut length = 0;
        while length < most {
            match self.file.read_at(&mut bytes[length..], offset + length as u64)? {
                0 => break,
                more => length += more,
            }
        }
        bytes.truncate(length);
        Ok(bytes)
    }

    /// The messages in `bytes`, the content of segment number `segment`.
    pub fn messages<'a>(&'a self, bytes: &'a [u8], segment: u64) -> Messages<'a> {
        Messages { log: self, bytes, segment, at: SEGMENT_HEADER }
    }

    /// Search byte by byte for a message; return it and where it begins.
    pub fn search(&self, bytes: &[u8], from: usize, accept: impl Fn(&Message) -> bool) -> Option<(usize, Message)> {
        (from..bytes.len())
            .take_while(|at| self.fits(*at))
            .find_map(|at| Some((at, parse_message(bytes, at).filter(&accept)?)))
    }

    /// The first message in a segment whose header is unreadable.
    pub fn first_message(&self, bytes: &[u8], accept: impl Fn(&Message) -> bool) -> Option<Message> {
        self.search(bytes, SEGMENT_HEADER, accept).map(|(_, message)| message)
    }

    /// Whether a message may begin at this offset in its segment.
    pub fn fits(&self, at: usize) -> bool {
        at + LONGEST_MESSAGE_HEADER <= self.segment_size
    }

    /// Whether an older segment has no more messages than those before `at`.
    ///
    /// sled fills each segment before it begins the next. It may have freed the segment, and a crash may have come when
    /// its end, but not its header, was rewritten.
    pub fn is_complete(&self, bytes: &[u8], at: usize, number: u64) -> bool {
        self.is_full(at) || self.search(bytes, at, |message| message.segment > number).is_some()
    }

    /// Whether the rest of a segment is too short for another message to begin here. sled also starts a new segment if
    /// there is just enough room for the header of one.
    pub fn is_full(&self, at: usize) -> bool {
        at + LONGEST_MESSAGE_HEADER >= self.segment_size
    }

    /// Where sled continues a log that ends at this position: in the next segment if the rest of this one is too short
    /// for a message.
    pub fn continuation(&self, position: u64) -> u64 {
        let size = self.segment_size as u64;
        let at = position % size;
        if self.is_full(at as usize) { position - at + size } else { position }
    }

    /// The position after the newest message.
    pub fn end(&self, segments: &[Segment]) -> io::Result<u64> {
        let headed = segments.iter().filter_map(|segment| Some((segment.header?.lsn, segment)));
        let Some((lsn, newest)) = headed.max_by_key(|(lsn, _)| *lsn) else { return Ok(0) };
        let bytes = self.read(newest)?;
        let mut messages = self.messages(&bytes, lsn / self.segment_size as u64);
        messages.by_ref().for_each(drop);
        Ok(lsn + messages.at as u64)
    }
}

/// The message at `at`, if its checksum is right.
fn parse_message(bytes: &[u8], at: usize) -> Option<Message> {
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

fn parse_header(bytes: &[u8; SEGMENT_HEADER]) -> Option<SegmentHeader> {
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap_or_default()) ^ i64::MAX as u64;
    let crc = u32::from_le_bytes(bytes[..4].try_into().unwrap_or_default());
    let is_right = crc32fast::hash(&bytes[4..]) ^ u32::MAX == crc;
    // `stable` is -1 in a log that has nothing on disk yet.
    is_right.then(|| SegmentHeader { lsn: number(4), stable: (number(12) as i64).max(0) as u64 })
}

/// Read one of sled's variable-length integers and advance past it.
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

/// The content of the blob that a message of this kind points to; None if the file's checksum is wrong.
pub fn read_blob(folder: &Path, kind: u8, pointer: &[u8]) -> io::Result<Option<Vec<u8>>> {
    if pointer.len() != size_of::<i64>() {
        return Ok(None);
    }
    let mut content = read_file(&folder.join(blob_name(pointer)))?;
    let is_right = content
        .split_first_chunk::<4>()
        .is_some_and(|(crc, rest)| rest.first() == Some(&kind) && crc32fast::hash(rest) == u32::from_le_bytes(*crc));
    Ok(is_right.then(|| content.split_off(5)))
}

/// The log position at which a blob was first written. sled names the file after it.
pub fn blob_id(pointer: &[u8]) -> Option<u64> {
    pointer.first_chunk().map(|position| u64::from_le_bytes(*position))
}

pub fn blob_name(pointer: &[u8]) -> String {
    blob_id(pointer).map_or_else(|| "blobs".to_owned(), |id| format!("blobs/{id}"))
}

/// The log position that the newest snapshot covers; sled puts it into the file's name.
pub fn last_snapshot(folder: &Path) -> io::Result<Option<u64>> {
    let mut last = None;
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let position = name.to_str().and_then(|name| name.strip_prefix("snap."));
        last = last.max(position.and_then(|position| u64::from_str_radix(position, 16).ok()));
    }
    Ok(last)
}

/// The segment size that follows from the log, for a lost `conf`: a segment has its position in its header and its
/// number in each message. Whatever the size, segments begin at powers of two.
pub fn detect_segment_size(folder: &Path) -> Option<usize> {
    let log = Log::open(folder, *SEGMENT_SIZES.end()).ok()?;
    let length = log.file.metadata().ok()?.len();
    let powers = (SEGMENT_SIZES.start().ilog2()..u64::BITS).map(|bits| 1 << bits).take_while(|offset| *offset < length);
    [0].into_iter().chain(powers).find_map(|offset| {
        let segment = log.segment_at(offset).ok()?;
        let number = parse_message(&log.read(&segment).ok()?, SEGMENT_HEADER)?.segment;
        let size = usize::try_from(segment.header?.lsn.checked_div(number)?).ok()?;
        is_segment_size(size).then_some(size)
    })
}

#[cfg(test)]
#[path = "../../../../tests/engine/rust/log.rs"]
mod tests;
