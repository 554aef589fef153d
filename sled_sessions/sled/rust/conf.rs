//! The file `conf`, in which sled keeps what must not change: how the log is cut into segments.

use std::{fs, io, ops::RangeInclusive, path::Path};

use crate::{
    error::{Error, Result, damaged},
    files::at,
};

/// sled's own default.
pub const SEGMENT_SIZE: usize = 512 * 1024;

/// What sled allows; it must be a power of two, too.
pub const SEGMENT_SIZES: RangeInclusive<usize> = 256..=1 << 24;

/// sled takes a `conf` that is not longer for none, and writes it anew.
const EMPTY_CONF: usize = 8;

pub const WRONG_CONF: &str = "the file conf is not what sled 0.34 writes, unless a sled before 0.29 made the database";

/// The segment size of the database in this folder, if there is one; refuse what this sled would misread.
///
/// `conf` holds lines such as `use_compression: false`, then their CRC, of which sled only logs that it is wrong.
pub fn stored_config(path: &Path) -> Result<Option<usize>> {
    let file = path.join("conf");
    let content = match fs::read(&file) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at(error, &file)),
    };
    let (lines, crc) = match content.split_last_chunk::<4>() {
        Some(parts) if content.len() > EMPTY_CONF => parts,
        _ => return Ok(None),
    };
    if crc32fast::hash(lines) != u32::from_le_bytes(*crc) {
        return Err(damaged(path, WRONG_CONF));
    }
    let text = String::from_utf8_lossy(lines);
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    if value("use_compression") == Some("true") {
        return Err(Error::Sled(sled::Error::Unsupported(format!(
            "{} was written with sled's compression, which is not built in: export it with the program that wrote it",
            path.display()
        ))));
    }
    let size = value("segment_size").and_then(|size| size.parse().ok()).filter(|size| is_segment_size(*size));
    size.map(Some).ok_or_else(|| damaged(path, WRONG_CONF))
}

pub fn is_segment_size(size: usize) -> bool {
    SEGMENT_SIZES.contains(&size) && size.is_power_of_two()
}
