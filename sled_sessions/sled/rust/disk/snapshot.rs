//! The snapshots of sled 0.34: where in the log each page's parts are.

use std::{collections::BTreeSet, fs, path::Path};

use crate::disk::log::{last_snapshot, varint};

/// Lengths of the content and of its CRC-32, at the end of the file.
const TRAILER: usize = 12;

/// The offsets in the file `db` that the newest snapshot names; None if there is none that is readable.
pub fn named_offsets(folder: &Path) -> Option<BTreeSet<u64>> {
    let position = last_snapshot(folder).ok()??;
    let content = fs::read(folder.join(format!("snap.{position:016X}"))).ok()?;
    let (pages, trailer) = content.split_at_checked(content.len().checked_sub(TRAILER)?)?;
    let (_, crc) = trailer.split_last_chunk::<4>()?;
    (crc32fast::hash(pages) == u32::from_le_bytes(*crc)).then(|| parse(pages))?
}

fn parse(content: &[u8]) -> Option<BTreeSet<u64>> {
    let mut rest = content.get(size_of::<i64>()..)?; // the position
    varint(&mut rest)?; // the offset of the last segment
    let mut offsets = BTreeSet::new();
    while let Some((&parts, after)) = rest.split_first() {
        rest = after;
        // A page has its parts with their lengths; a page that was freed has the one message that says so.
        for _ in 0..parts.max(1) {
            rest = rest.get(size_of::<i64>()..)?; // the position
            let (&is_blob, after) = rest.split_first()?;
            rest = after;
            offsets.insert(varint(&mut rest)?);
            rest = rest.get(if is_blob == 0 { 0 } else { size_of::<i64>() }..)?;
            if parts > 0 {
                varint(&mut rest)?;
            }
        }
    }
    Some(offsets)
}
