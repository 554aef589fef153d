//! The file `conf`, in which sled records how the log is divided into segments.

use std::{io::ErrorKind, ops::RangeInclusive, path::Path};

use crate::{
    disk::{damaged, regular::read_file},
    error::{At, Error, Result},
};

/// sled's own default.
pub const SEGMENT_SIZE: usize = 512 * 1024;

/// The sizes that sled allows; they must also be powers of two.
pub const SEGMENT_SIZES: RangeInclusive<usize> = 256..=1 << 24;

/// sled treats a `conf` of up to this length as missing, and rewrites it.
const EMPTY_CONF: usize = 8;

pub const WRONG_CONF: &str = "the file conf is not what sled 0.34 writes, unless a sled before 0.29 made the database";

/// The segment size of the database in this folder, if it has one. Rejects a `conf` that sled would misread.
///
/// `conf` has lines such as `use_compression: false`, then their CRC. sled only logs a CRC that is wrong.
pub fn stored_segment_size(path: &Path) -> Result<Option<usize>> {
    let file = path.join("conf");
    let content = match read_file(&file) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        content => content.at(&file)?,
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
        return Err(Error::unsupported(format!(
            "{} was written with sled's compression, which is not built in: export it with the program that wrote it",
            path.display()
        )));
    }
    let size = value("segment_size").and_then(|size| size.parse().ok()).filter(|size| is_segment_size(*size));
    size.map(Some).ok_or_else(|| damaged(path, WRONG_CONF))
}

pub fn is_segment_size(size: usize) -> bool {
    SEGMENT_SIZES.contains(&size) && size.is_power_of_two()
}
