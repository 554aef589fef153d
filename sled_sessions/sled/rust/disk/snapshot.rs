//! sled's snapshot: where the parts of each page are in the log. sled writes one on opening a database whose log has
//! grown since the last one, and replays only what follows.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, ErrorKind},
    path::Path,
};

use crate::disk::{
    log::{Log, blob_id, last_snapshot, varint},
    regular::read_file,
};

/// Where pages are, as of a position in the log.
#[derive(Default)]
pub struct Snapshot {
    pub position: u64,
    /// Where the snapshot itself says that the file `db` holds parts of pages.
    pub offsets: Vec<u64>,
    /// Whether a part is newer than the snapshot, or a blob newer than the part that names it. sled never writes that,
    /// and would wait for ever for it.
    pub is_ahead: bool,
    /// By page; only those with blobs.
    blobs: BTreeMap<u64, Vec<u64>>,
}

impl Snapshot {
    /// The newest snapshot; an empty one if there is none.
    pub fn read(database: &Path) -> io::Result<Self> {
        let Some(position) = last_snapshot(database)? else { return Ok(Snapshot::default()) };
        let content = read_file(&database.join(format!("snap.{position:016X}")))?;
        parse(&content)
            .filter(|snapshot| snapshot.position == position)
            .ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "the snapshot is not what sled wrote"))
    }

    /// Take in what the log holds after the snapshot. O(n) in the log's size. Approximate while sled is writing: sled
    /// may reuse a segment before this has read it.
    pub fn catch_up(&mut self, log: &Log) -> io::Result<()> {
        let size = log.segment_size as u64;
        let segments = log.segments()?;
        let mut order: Vec<_> = segments.iter().filter_map(|segment| Some((segment.header?.lsn, segment))).collect();
        order.sort_by_key(|(lsn, _)| *lsn);
        let start = self.position;
        for (lsn, segment) in order.into_iter().filter(|(lsn, _)| lsn + size > start) {
            let bytes = log.read(segment)?;
            let mut messages = log.messages(&bytes, lsn / size);
            let mut position = lsn + messages.at as u64;
            while let Some(message) = messages.next() {
                if position >= start {
                    if message.replaces_its_page() {
                        self.blobs.remove(&message.page);
                    }
                    if message.is_blob() {
                        self.blobs.entry(message.page).or_default().extend(blob_id(&bytes[message.body.clone()]));
                    }
                }
                position = lsn + messages.at as u64;
            }
            self.position = position.max(start);
        }
        Ok(())
    }

    pub fn named_blobs(&self) -> BTreeSet<u64> {
        self.blobs.values().flatten().copied().collect()
    }
}

/// The position plus one, the newest segment, then each page: the number of its parts (0: the page is free), and each
/// part's position, place and size. A place is an offset in the file, with the blob if there is one. At the end, the
/// length and the CRC.
fn parse(content: &[u8]) -> Option<Snapshot> {
    let (content, crc) = content.split_last_chunk::<4>()?;
    let (mut rest, _length) = content.split_last_chunk::<8>()?;
    if crc32fast::hash(rest) != u32::from_le_bytes(*crc) {
        return None;
    }
    let position = take_u64(&mut rest)?.checked_sub(1)?;
    varint(&mut rest)?;
    let (mut blobs, mut offsets, mut is_ahead) = (BTreeMap::new(), Vec::new(), false);
    let mut page = 0;
    while let Some((&parts, after)) = rest.split_first() {
        rest = after;
        let mut of_page = Vec::new();
        for _ in 0..parts.max(1) {
            let written = take_u64(&mut rest)?;
            is_ahead |= written > position;
            let (&has_blob, after) = rest.split_first()?;
            rest = after;
            offsets.push(varint(&mut rest)?);
            match has_blob {
                0 => {}
                1 => {
                    let blob = take_u64(&mut rest)?;
                    is_ahead |= blob > written;
                    of_page.push(blob);
                }
                _ => return None,
            }
            if parts > 0 {
                varint(&mut rest)?;
            }
        }
        if !of_page.is_empty() {
            blobs.insert(page, of_page);
        }
        page += 1;
    }
    Some(Snapshot { position, offsets, is_ahead, blobs })
}

fn take_u64(bytes: &mut &[u8]) -> Option<u64> {
    let (value, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(u64::from_le_bytes(*value))
}

#[cfg(test)]
#[path = "../../../../tests/engine/rust/snapshot.rs"]
mod tests;
