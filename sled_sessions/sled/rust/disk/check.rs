//! Finding damage before sled opens a database.
//!
//! On opening, sled replays the log after its last snapshot. It takes the first message or blob that it cannot read for
//! the end that a crash left, or skips the rest of the segment. After a crash that is right; after damage it silently
//! loses data.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, ErrorKind},
    path::Path,
};

use crate::{
    disk::{
        damaged,
        end::End,
        log::{Log, Message, SEGMENT_HEADER, Segment, blob_name, read_blob},
        page,
        snapshot::Snapshot,
        snapshots::Snapshots,
    },
    error::{At, Result},
};

/// Files up to this many bytes are checked whole, which takes some milliseconds. Foreign databases are mostly small.
const LARGE: u64 = 16 << 20;

/// Return an error if the database is damaged in a way that sled would not notice and lose data by.
///
/// This reads each segment's header, and once more what sled is about to read: the log since the last snapshot, which
/// sled writes on opening, and the blobs that it names. sled checks everything earlier when it reads it. After the last
/// position that is known to have been written, damage cannot be told from a crash; that part is left to sled.
pub fn check_files(folder: &Path, segment_size: usize) -> Result<()> {
    let db = folder.join("db");
    let has_conf = folder.join("conf").exists();
    let snapshots = Snapshots::of(folder).at(&db)?;
    let log = match Log::open(folder, segment_size) {
        Err(error) if error.kind() == ErrorKind::NotFound && has_conf => {
            return Err(damaged(folder, "the file db is missing"));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        log => log.at(&db)?,
    };
    let segments = log.segments().at(&db)?;
    if segments.is_empty() && has_conf {
        return Err(damaged(folder, "the file db is empty (if the database was never used, delete the folder)"));
    }
    let headers: Vec<_> = segments.iter().filter_map(|segment| segment.header).collect();
    if headers.is_empty() && !segments.is_empty() && !may_be_crashed(&log, &segments).at(&db)? {
        return Err(damaged(folder, "sled did not write the file db (does it belong to another program?)"));
    }
    let start = snapshots.last.unwrap_or(0);
    let stable = headers.iter().map(|header| header.stable).max().unwrap_or(0);
    let known: BTreeSet<u64> = headers.iter().map(|header| header.lsn / segment_size as u64).collect();
    // What a header calls written must be there. Without that segment sled takes the whole log for empty.
    if stable > start && !known.contains(&(stable / segment_size as u64)) {
        let what = match snapshots.emptied {
            Some(_) => "its snapshot is empty, and sled has used again a part of the log that would do instead",
            None => "the file db was cut short",
        };
        return Err(damaged(folder, what));
    }
    let end = log.end(&segments).at(&db)?;
    let note = End::read(folder);
    let noted = note.as_ref().map_or(0, |note| note.position);
    let emptied = snapshots.emptied.unwrap_or(0);
    if emptied > log.continuation(end).max(start) {
        return Err(damaged(folder, "the file db was cut short, and its snapshot is empty"));
    }
    if noted > end.max(start) {
        return Err(damaged(
            folder,
            "the file db was cut short, or it is an older copy than the file end beside it (in that case delete the \
             file end to open it)",
        ));
    }
    // sled reads the segment that contains `stable` again, up to the first gap, and forgets everything after it. A
    // power cut may leave such a gap in data that was never fsynced.
    let sure = stable - stable % segment_size as u64;
    let replay = Replay { folder, log: &log, start, written: sure.max(noted).max(emptied) };
    let newest = snapshots.last.max(snapshots.emptied);
    if let Some(headers) = note.and_then(|note| note.headers(end, newest)) {
        let found: BTreeSet<u64> =
            segments.iter().filter(|segment| segment.header.is_some()).map(|segment| segment.offset).collect();
        let mut noted = (0..).step_by(segment_size).zip(headers);
        if let Some((offset, _)) = noted.find(|(offset, had_header)| *had_header && !found.contains(offset)) {
            return Err(damaged(folder, &format!("the file db is, at byte {offset}")));
        }
    }
    replay.check_headless(&segments, &known, newest.is_none())?;
    replay.check_messages(&segments)?;
    if Snapshot::read(folder).is_ok_and(|snapshot| snapshot.is_ahead) {
        return Err(damaged(folder, "the file snap.… is not what sled wrote"));
    }
    check_older_messages(folder, &log, &segments, start)
}

/// Check the part of the log that sled reads only later, unless it is large.
fn check_older_messages(folder: &Path, log: &Log, segments: &[Segment], start: u64) -> Result<()> {
    let size = log.segment_size as u64;
    if segments.len() as u64 * size > LARGE {
        return Ok(());
    }
    for segment in segments {
        let Some(header) = segment.header.filter(|header| header.lsn + size <= start) else { continue };
        let bytes = log.read(segment).at(&folder.join("db"))?;
        for message in log.messages(&bytes, header.lsn / size) {
            check_content(folder, segment, &bytes, &message)?;
        }
    }
    Ok(())
}

/// Check what a message says, which sled trusts, because its checksum is right: a crafted database can crash or hang
/// the process. What is in a blob is checked with the blob.
fn check_content(folder: &Path, segment: &Segment, bytes: &[u8], message: &Message) -> Result<()> {
    if message.is_blob() || page::is_sound(message.kind, message.page, &bytes[message.body.clone()]) {
        return Ok(());
    }
    Err(damaged(folder, &format!("the file db is, at byte {}", segment.offset + message.body.start as u64)))
}

/// The part of the log that sled is about to read.
struct Replay<'a> {
    folder: &'a Path,
    log: &'a Log,
    start: u64,
    /// Everything before this position was written. Later parts were being written when the process ended: the buffers
    /// of several threads reach the file in any order, so there may be gaps with arbitrary content.
    written: u64,
}

impl Replay<'_> {
    /// Look for messages in segments whose header is unreadable.
    fn check_headless(&self, segments: &[Segment], known: &BTreeSet<u64>, was_never_reopened: bool) -> Result<()> {
        let size = self.log.segment_size as u64;
        for (index, segment) in segments.iter().enumerate().filter(|(_, segment)| segment.header.is_none()) {
            // Segments are first used in the order of the file: if a later one follows written data, this one was
            // written too. After the database was reopened, sled's own recovery may have emptied it.
            let was_written = was_never_reopened
                && segments[index + 1..].iter().any(|later| later.header.is_some_and(|it| it.lsn <= self.written));
            let bytes = self.log.read(segment).at(&self.folder.join("db"))?;
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

    /// Check the messages in the order of the log, and the blobs that they name.
    fn check_messages(&self, segments: &[Segment]) -> Result<()> {
        let size = self.log.segment_size as u64;
        let mut order: Vec<_> = segments.iter().filter_map(|segment| Some((segment.header?.lsn, segment))).collect();
        order.sort_by_key(|(lsn, _)| *lsn);
        // Pages whose blob is missing. sled removes a blob only after its page was replaced or freed.
        let mut missing = BTreeMap::new();
        // sled reads the segment in which the snapshot ends from its beginning, and also stops at damage there.
        for (lsn, segment) in order.into_iter().filter(|(lsn, _)| lsn + size > self.start) {
            let bytes = self.log.read(segment).at(&self.folder.join("db"))?;
            let number = lsn / size;
            let mut messages = self.log.messages(&bytes, number);
            let mut position = lsn + messages.at as u64;
            while let Some(message) = messages.next() {
                check_content(self.folder, segment, &bytes, &message)?;
                if message.replaces_its_page() {
                    missing.remove(&message.page);
                }
                if message.is_blob() && position < self.written {
                    let pointer = &bytes[message.body.clone()];
                    let is_present = self.check_blob(&message, pointer)?;
                    if !is_present && position >= self.start {
                        missing.insert(message.page, blob_name(pointer));
                    }
                }
                position = lsn + messages.at as u64;
            }
            if position < self.written && !self.log.is_complete(&bytes, messages.at, number) {
                let what = format!("the file db is, at byte {}", segment.offset + messages.at as u64);
                return Err(damaged(self.folder, &what));
            }
        }
        match missing.into_values().next() {
            Some(name) => Err(damaged(self.folder, &format!("the file {name} is missing"))),
            None => Ok(()),
        }
    }

    /// Whether a blob is present; an error if it is damaged.
    fn check_blob(&self, message: &Message, pointer: &[u8]) -> Result<bool> {
        let name = blob_name(pointer);
        match read_blob(self.folder, message.kind, pointer) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            content => match content.at(&self.folder.join(&name))? {
                Some(content) if page::is_sound(message.kind, message.page, &content) => Ok(true),
                _ => Err(damaged(self.folder, &format!("the file {name} is not what sled wrote"))),
            },
        }
    }
}

/// Whether a crash may have left a log without any readable header: a later buffer reached the file before the one with
/// the header.
fn may_be_crashed(log: &Log, segments: &[Segment]) -> io::Result<bool> {
    for segment in segments {
        let is_blank = log.read_up_to(SEGMENT_HEADER, segment.offset)?.iter().all(|byte| *byte == 0);
        // The first header may also be damaged.
        if (is_blank || segment.offset == 0) && log.first_message(&log.read(segment)?, |_| true).is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}
