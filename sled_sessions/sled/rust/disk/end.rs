//! The file `end`, in which a clean close notes how it left the log. sled ignores it.

use std::path::Path;

use crate::disk::{
    conf::stored_segment_size,
    log::{Log, last_snapshot},
    private::{Mode, replace_file},
    regular::{open_file, read_file},
};

pub const END: &str = "end";

const HEX_DIGITS: usize = 16;

/// How the last clean close left the log.
pub struct End {
    /// The position after the last message. A log never becomes shorter than that, unless an older copy of it is put
    /// back without this file.
    pub position: u64,
    snapshot: u64,
    /// A `+` for each segment of the file with a header, a `-` for each other. Empty if the note was cut short.
    segments: String,
}

impl End {
    pub fn read(folder: &Path) -> Option<Self> {
        let text = String::from_utf8(read_file(&folder.join(END)).ok()?).ok()?;
        let number = |digits: &str| u64::from_str_radix(digits, 16).ok();
        let mut words = text.split(' ');
        Some(End {
            position: number(words.next().filter(|digits| digits.len() == HEX_DIGITS)?)?,
            snapshot: words.next().and_then(number).unwrap_or(0),
            segments: words.next().unwrap_or_default().to_owned(),
        })
    }

    /// Whether each segment of the file had a header, if no process has written since then, or only damage.
    ///
    /// Opening a database writes a newer snapshot first, then empties segments.
    pub fn headers(&self, log_end: u64, snapshot: Option<u64>) -> Option<Vec<bool>> {
        let is_current =
            log_end <= self.position && snapshot.unwrap_or(0) <= self.snapshot && !self.segments.is_empty();
        is_current.then(|| self.segments.bytes().map(|mark| mark == b'+').collect())
    }
}

/// Note how the log ends, so that the next open can tell damage from a crash. Call this after sled has closed the
/// database: until then it may cut off unused segments. The note is optional, so errors are ignored.
pub fn note_end(folder: &Path) {
    let describe = || {
        let file = open_file(&folder.join("db")).ok()?;
        file.try_lock().ok()?;
        let log = Log::open(folder, stored_segment_size(folder).ok()??).ok()?;
        let segments = log.segments().ok()?;
        let (end, snapshot) = (log.end(&segments).ok()?, last_snapshot(folder).ok()?.unwrap_or(0));
        let count = file.metadata().ok()?.len().div_ceil(log.segment_size as u64);
        let mut marks = vec!["-"; usize::try_from(count).ok()?];
        for segment in segments.iter().filter(|segment| segment.header.is_some()) {
            *marks.get_mut(usize::try_from(segment.offset).ok()? / log.segment_size)? = "+";
        }
        let text = format!("{end:016X} {snapshot:X} {}", marks.concat());
        replace_file(&folder.join(END), &text, Mode::of(folder).ok()?).ok()
    };
    let _ = describe();
}
