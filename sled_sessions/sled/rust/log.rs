//! The log of sled 0.34, read without sled: to see whether it is whole before sled gets it, and to salvage it.
//!
//! The file `db` is a row of segments, each with a header and then messages. A position in the log (LSN) never repeats:
//! segments are reused, so their order in the file is not that of the log. A message that would be too long is a blob:
//! the log has the name of a file in `blobs/` instead. On opening, sled goes through the log from its last snapshot on
//! and takes the first message or blob that it cannot read for the end that a crash left, or skips the rest of the
//! segment. Both is right after a crash, and loses data without a word after damage.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io,
    ops::Range,
    os::unix::fs::FileExt,
    path::Path,
};

use crate::{
    conf::{SEGMENT_SIZES, is_segment_size, stored_config},
    error::{Error, Result, damaged},
    files,
};

/// CRC-32, position, and up to which position sled had written the log when this segment was begun.
const SEGMENT_HEADER: usize = 20;

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

/// A segment's place in the file, and what its header says if it can be read.
pub struct Segment {
    pub offset: u64,
    pub header: Option<Header>,
}

#[derive(Clone, Copy)]
pub struct Header {
    pub lsn: u64,
    /// Everything before this position had been handed to the kernel, without a gap: no kill takes it away.
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
    fn replaces_its_page(&self) -> bool {
        matches!(self.kind, META | BLOB_META | NODE | BLOB_NODE | FREE)
    }
}

/// The messages of a segment, one behind the other, up to the first place where none of this segment is.
pub struct Messages<'a> {
    log: &'a Log,
    bytes: &'a [u8],
    segment: u64,
    /// Where the next one is looked for.
    pub at: usize,
}

impl Iterator for Messages<'_> {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        let found = message(self.bytes, self.at).filter(|it| self.log.fits(self.at) && it.segment == self.segment)?;
        self.at = found.body.end;
        Some(found)
    }
}

impl Log {
    pub fn open(folder: &Path, segment_size: usize) -> io::Result<Self> {
        Ok(Log { file: File::open(folder.join("db"))?, segment_size })
    }

    pub fn segments(&self) -> io::Result<Vec<Segment>> {
        let size = self.file.metadata()?.len();
        let count = size.div_ceil(self.segment_size as u64);
        (0..count).map(|index| self.segment_at(index * self.segment_size as u64)).collect()
    }

    fn segment_at(&self, offset: u64) -> io::Result<Segment> {
        let mut bytes = [0; SEGMENT_HEADER];
        let whole = self.read_into(&mut bytes, offset)? == SEGMENT_HEADER;
        Ok(Segment { offset, header: if whole { header(&bytes) } else { None } })
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

    /// The messages of segment number `segment`, whose bytes these are.
    pub fn messages<'a>(&'a self, bytes: &'a [u8], segment: u64) -> Messages<'a> {
        Messages { log: self, bytes, segment, at: SEGMENT_HEADER }
    }

    /// The next message behind something that is none, and where it begins.
    pub fn search(&self, bytes: &[u8], from: usize, accept: impl Fn(&Message) -> bool) -> Option<(usize, Message)> {
        (from..bytes.len())
            .take_while(|at| self.fits(*at))
            .find_map(|at| Some((at, message(bytes, at).filter(&accept)?)))
    }

    /// The first message in a segment whose header cannot be read.
    pub fn first_message(&self, bytes: &[u8], accept: impl Fn(&Message) -> bool) -> Option<Message> {
        self.search(bytes, SEGMENT_HEADER, accept).map(|(_, message)| message)
    }

    /// Whether a message may begin at `at`.
    fn fits(&self, at: usize) -> bool {
        at + LONGEST_MESSAGE_HEADER <= self.segment_size
    }

    /// What sled makes of a position at which the log ends: where too little of a segment is left for another message,
    /// the log goes on in the next one.
    pub fn rounded(&self, position: u64) -> u64 {
        let size = self.segment_size as u64;
        if position % size + LONGEST_MESSAGE_HEADER as u64 >= size {
            position - position % size + size
        } else {
            position
        }
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

/// The content of a blob, of which the log has `kind` and `pointer`; None if it is not what sled wrote.
pub fn read_blob(folder: &Path, kind: u8, pointer: &[u8]) -> io::Result<Option<Vec<u8>>> {
    if pointer.len() != size_of::<i64>() {
        return Ok(None);
    }
    let mut content = fs::read(folder.join(blob_name(pointer)))?;
    let is_right = content
        .split_first_chunk::<4>()
        .is_some_and(|(crc, rest)| rest.first() == Some(&kind) && crc32fast::hash(rest) == u32::from_le_bytes(*crc));
    Ok(is_right.then(|| content.split_off(5)))
}

/// sled names a blob after the position at which it was first written.
fn blob_name(pointer: &[u8]) -> String {
    pointer.first_chunk().map_or_else(|| "blobs".to_owned(), |name| format!("blobs/{}", i64::from_le_bytes(*name)))
}

/// The segment size that the log itself tells, for a lost `conf`: a segment has its position in its header and its number
/// in each message. Segments begin at powers of two, too, whatever the size.
pub fn told_segment_size(folder: &Path) -> Option<usize> {
    let log = Log::open(folder, *SEGMENT_SIZES.end()).ok()?;
    let length = log.file.metadata().ok()?.len();
    let places = (SEGMENT_SIZES.start().ilog2()..u64::BITS).map(|bits| 1 << bits).take_while(|place| *place < length);
    [0].into_iter().chain(places).find_map(|offset| {
        let segment = log.segment_at(offset).ok()?;
        let number = message(&log.read(&segment).ok()?, SEGMENT_HEADER)?.segment;
        let size = usize::try_from(segment.header?.lsn.checked_div(number)?).ok()?;
        is_segment_size(size).then_some(size)
    })
}

/// Refuse a database whose files are damaged in a way that sled would not notice and lose data by.
///
/// It costs a look at each segment's header, and a second reading of what sled is going to read anyway: the log since
/// the last snapshot, which sled writes on opening, and the blobs that this part of the log has. What lies before it is
/// checked by sled when it is read. What lies behind the last position that is known to have been written cannot be
/// told from what a crash leaves, and is left to sled.
pub fn check(folder: &Path, segment_size: usize) -> Result<()> {
    let at = |error| files::at(error, &folder.join("db"));
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
    if is_headless && !is_begun(&log, &segments).map_err(at)? {
        return Err(damaged(folder, "the file db is nothing that sled wrote (is it another program's?)"));
    }
    let start = snapshot.unwrap_or(0);
    let stable = segments.iter().filter_map(|segment| segment.header).map(|header| header.stable).max().unwrap_or(0);
    let known: BTreeSet<u64> =
        segments.iter().filter_map(|segment| segment.header).map(|it| it.lsn / segment_size as u64).collect();
    // What a header says was written must be there. Without that place sled takes the whole log for empty.
    if stable > start && !known.contains(&(stable / segment_size as u64)) {
        return Err(damaged(folder, "the file db was cut short"));
    }
    let noted = noted_end(folder).unwrap_or(0);
    if noted > end_of(&log, &segments).map_err(at)?.max(start) {
        return Err(damaged(
            folder,
            "the file db was cut short, or it is an older copy than the file end beside it (in that case delete the \
             file end to open it)",
        ));
    }
    // The segment in which that lies sled reads once more, up to the first gap, and forgets what is behind it. A power
    // cut may leave one there, of what no fsync had covered.
    let sure = stable - stable % segment_size as u64;
    let replay = Replay { folder, log: &log, start, written: sure.max(noted) };
    replay.check_headless(&segments, &known, snapshot.is_none())?;
    replay.check_messages(&segments)
}

/// The part of the log that sled is going to read.
struct Replay<'a> {
    folder: &'a Path,
    log: &'a Log,
    start: u64,
    /// Everything before this position was written. Behind it is what was being written when the process ended: the
    /// buffers of several threads reach the file in any order, so there may be gaps with anything in them.
    written: u64,
}

impl Replay<'_> {
    /// Look for messages in segments whose header cannot be read.
    fn check_headless(&self, segments: &[Segment], known: &BTreeSet<u64>, was_never_reopened: bool) -> Result<()> {
        let size = self.log.segment_size as u64;
        for (index, segment) in segments.iter().enumerate().filter(|(_, segment)| segment.header.is_none()) {
            // Segments are first used in the order of the file. If what came before one behind it was written, then so
            // was this one. Once the database was reopened, sled's own recovery may have emptied it.
            let was_written = was_never_reopened
                && segments[index + 1..].iter().any(|later| later.header.is_some_and(|it| it.lsn <= self.written));
            let bytes = self.log.read(segment).map_err(|error| self.at_log(error))?;
            let lost = self.log.first_message(&bytes, |message| {
                message.segment * size + size > self.start && !known.contains(&message.segment)
            });
            let is_unwritten = |lost: &Message| {
                bytes.iter().take(SEGMENT_HEADER).all(|byte| *byte == 0) && lost.segment * size >= self.written
            };
            if was_written || lost.is_some_and(|lost| !is_unwritten(&lost)) {
                let what = format!("the file db is, at byte {}, or the file snap.… was lost", segment.offset);
                return Err(damaged(self.folder, &what));
            }
        }
        Ok(())
    }

    /// Go through the messages in the order of the log, and through the blobs that they name.
    fn check_messages(&self, segments: &[Segment]) -> Result<()> {
        let size = self.log.segment_size as u64;
        let mut order: Vec<_> = segments.iter().filter_map(|segment| Some((segment.header?.lsn, segment))).collect();
        order.sort_by_key(|(lsn, _)| *lsn);
        // Pages of which a blob is missing. sled removes a blob once its page was replaced or freed, and not before.
        let mut missing = BTreeMap::new();
        // sled reads the segment in which the snapshot ends from its beginning, and stops there as well.
        for (lsn, segment) in order.into_iter().filter(|(lsn, _)| lsn + size > self.start) {
            let bytes = self.log.read(segment).map_err(|error| self.at_log(error))?;
            let number = lsn / size;
            let mut messages = self.log.messages(&bytes, number);
            let mut position = lsn + messages.at as u64;
            while let Some(message) = messages.next() {
                if message.replaces_its_page() {
                    missing.remove(&message.page);
                }
                if message.is_blob() && position < self.written {
                    let pointer = &bytes[message.body.clone()];
                    let is_there = self.check_blob(message.kind, pointer)?;
                    if !is_there && position >= self.start {
                        missing.insert(message.page, blob_name(pointer));
                    }
                }
                position = lsn + messages.at as u64;
            }
            // The segment may have been freed, and its end written anew before its header when the crash came.
            let is_reused = || self.log.search(&bytes, messages.at, |message| message.segment > number).is_some();
            if self.log.fits(messages.at) && position < self.written && !is_reused() {
                let what = format!("the file db is, at byte {}", segment.offset + messages.at as u64);
                return Err(damaged(self.folder, &what));
            }
        }
        match missing.into_values().next() {
            Some(name) => Err(damaged(self.folder, &format!("the file {name} is missing"))),
            None => Ok(()),
        }
    }

    /// Whether a blob is there; an error if it is damaged.
    fn check_blob(&self, kind: u8, pointer: &[u8]) -> Result<bool> {
        match read_blob(self.folder, kind, pointer) {
            Ok(Some(_)) => Ok(true),
            Ok(None) => Err(damaged(self.folder, &format!("the file {} is not what was written", blob_name(pointer)))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(files::at(error, &self.folder.join(blob_name(pointer)))),
        }
    }

    fn at_log(&self, error: io::Error) -> Error {
        files::at(error, &self.folder.join("db"))
    }
}

/// The file where a clean close notes how far the log goes. A log never gets shorter than it was then, unless somebody
/// puts back an older copy of it without this file.
pub const END: &str = "end";

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
    let mut messages = log.messages(&bytes, lsn / log.segment_size as u64);
    messages.by_ref().for_each(drop);
    Ok(lsn + messages.at as u64)
}

/// Whether segments without a header are what a crash left of a log: a buffer in the middle of one that reached the file
/// before that with the header did.
fn is_begun(log: &Log, segments: &[Segment]) -> io::Result<bool> {
    for segment in segments {
        let mut start = [0; SEGMENT_HEADER];
        log.read_into(&mut start, segment.offset)?;
        let may_be = start == [0; SEGMENT_HEADER] || segment.offset == 0; // where the header may be damaged, too
        if may_be && log.first_message(&log.read(segment)?, |_| true).is_some() {
            return Ok(true);
        }
    }
    Ok(false)
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
