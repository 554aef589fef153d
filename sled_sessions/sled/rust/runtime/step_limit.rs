//! What sled logs: errors of its own threads, which no caller meets, go to `monitor`; trace messages limit a search that
//! would not end in time.
//!
//! sled logs a trace message before it reads a page. The logger here counts trace messages, and unwinds out of sled when
//! a thread has used up its steps and is about to read a page. There sled holds nothing that unwinding does
//! not release, and other threads complete a split or merge of pages that was begun.

use std::{
    cell::Cell,
    panic::{self, AssertUnwindSafe},
    sync::Mutex,
};

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::runtime::{guard::OnDrop, locks::lock, monitor};

/// The modules of sled 0.34 that log an error after which a log may never become stable.
const VITAL: [&str; 4] = ["sled::flusher", "sled::threadpool", "sled::pagecache::iobuf", "sled::pagecache::logger"];

const BEFORE_READING: &str = "getting page iterator for pid";

thread_local! {
    /// The messages that this thread may still log; None for no limit.
    static LEFT: Cell<Option<u32>> = const { Cell::new(None) };
}

/// How many threads have a limit. Without any, only errors are logged, so that other calls do not pay for it.
static LIMITED: Mutex<usize> = Mutex::new(0);

struct Listener;

impl Log for Listener {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        if record.level() == Level::Error && VITAL.contains(&record.target()) {
            monitor::alarm(record.args().to_string());
        }
        match LEFT.get() {
            Some(0) if record.args().to_string().starts_with(BEFORE_READING) => {
                LEFT.set(None); // what unwinding drops may log too
                panic::resume_unwind(Box::new("out of steps"));
            }
            left => LEFT.set(left.map(|left| left.saturating_sub(1))),
        }
    }

    fn flush(&self) {}
}

/// Call this once, before `limited`.
pub fn install() {
    let _ = log::set_logger(&Listener);
    log::set_max_level(LevelFilter::Error);
}

/// Run a search; None if it takes more than `steps` or panics.
pub fn limited<T>(steps: u32, search: impl FnOnce() -> T) -> Option<T> {
    let count = |change: isize| {
        let mut threads = lock(&LIMITED);
        *threads = threads.saturating_add_signed(change);
        log::set_max_level(if *threads > 0 { LevelFilter::Trace } else { LevelFilter::Error });
    };
    count(1);
    LEFT.set(Some(steps));
    let _end = OnDrop(|| {
        LEFT.set(None);
        count(-1);
    });
    panic::catch_unwind(AssertUnwindSafe(search)).ok()
}
