//! Databases that cannot be written any more.
//!
//! sled reserves a place in its log, fills it, and completes it. If filling fails, because a blob file cannot be created
//! or a disk is full, nobody completes the place: what is written behind it never becomes stable, although sled goes on
//! acknowledging writes, and every flush waits for ever. Other failures end sled's flusher or one of its I/O threads
//! without a word to any caller.
//!
//! Here every error of a call, every error that sled only logs, and every flush that makes no progress leads to one
//! question: does the log still become stable? If not, the database has *failed*. Its writes are refused, its reads go
//! on, and sled's own threads can write no more, because the descriptor that they write to is replaced by one that is
//! only readable. Their next write fails, sled remembers that, and whatever waited for the log returns with an error.
//! What opens the folder next recovers everything that had become stable.

use std::{
    fs::{self, File},
    io,
    mem::ManuallyDrop,
    os::{
        fd::{FromRawFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{
            AtomicU8, AtomicUsize,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    thread,
    time::Duration,
};

use rustix::io::dup2;
use sled::Lsn;

use crate::{
    disk::regular::open_file,
    error::{Error, Failure, Result},
    runtime::{
        guard::{self, OnDrop},
        locks::lock,
        monitor,
    },
};

/// How long a failed database may take to notice that its file is only readable: the pauses between the attempts.
const QUARANTINE: [u64; 10] = [2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000];

const SOUND: u8 = 0;
const DOUBTED: u8 = 1;
const FAILED: u8 = 2;

pub struct Health {
    folder: PathBuf,
    /// Device and inode of the file `db`.
    identity: (u64, u64),
    /// A second descriptor of the file `db`, only readable: sled does not expose its own. None once it is closed.
    file: Mutex<Option<Arc<File>>>,
    /// sled's descriptor of the file `db`, valid as long as `db` is there.
    descriptor: Option<i32>,
    /// None once the database is closed.
    db: Mutex<Option<sled::Db>>,
    state: AtomicU8,
    verdict: Mutex<Verdict>,
    decided: Condvar,
    /// How many calls wait for the log to become stable.
    waiting: AtomicUsize,
}

#[derive(Default)]
struct Verdict {
    /// How many calls are finding out whether the log still becomes stable.
    examinations: usize,
    /// The error that started them.
    suspicion: Option<io::Error>,
    failure: Option<Failure>,
}

impl Health {
    /// Call this right after sled has opened the database, while no other thread knows it.
    pub fn new(db: &sled::Db, folder: &Path) -> io::Result<Self> {
        let file = open_file(&folder.join("db"))?;
        let identity = identity(&file.metadata()?);
        Ok(Health {
            folder: folder.to_owned(),
            identity,
            file: Mutex::new(Some(Arc::new(file))),
            descriptor: writable_descriptor(identity)?,
            db: Mutex::new(Some(db.clone())),
            state: AtomicU8::new(SOUND),
            verdict: Mutex::default(),
            decided: Condvar::new(),
            waiting: AtomicUsize::new(0),
        })
    }

    /// The file `db`, for fsync.
    pub fn file(&self) -> io::Result<Arc<File>> {
        lock(&self.file).clone().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Let go of the database, and of the lock that a failed one holds.
    pub fn release(&self) {
        lock(&self.db).take();
        lock(&self.file).take();
    }

    pub fn failure(&self) -> Option<Failure> {
        lock(&self.verdict).failure.clone()
    }

    /// Fail if nothing can be written. Called before and after each write: what was written behind a place that is
    /// never completed must not be acknowledged.
    #[inline]
    pub fn check_writable(&self) -> Result<()> {
        if self.state.load(Acquire) == SOUND { Ok(()) } else { self.wait_for_verdict() }
    }

    #[cold]
    fn wait_for_verdict(&self) -> Result<()> {
        let undecided = |verdict: &mut Verdict| verdict.failure.is_none() && verdict.examinations > 0;
        let verdict = self.decided.wait_while(lock(&self.verdict), undecided).unwrap_or_else(PoisonError::into_inner);
        verdict.failure.clone().map_or(Ok(()), |failure| Err(Error::Failed(failure)))
    }

    /// Look at the outcome of a call: if it may have left the log unfinished, find out whether it has. After a failure,
    /// reads go on but where sled wants to finish the split or merge of a page first, which it cannot.
    pub fn examine<T>(&self, outcome: Result<T>) -> Result<T> {
        let Err(error @ (Error::Sled(sled::Error::Io(_)) | Error::SledAt(sled::Error::Io(_), _) | Error::Panic(_))) =
            outcome
        else {
            return outcome;
        };
        match self.failure() {
            Some(failure) => Err(Error::Failed(failure)),
            None => {
                self.doubt(&error);
                Err(error)
            }
        }
    }

    #[cold]
    fn doubt(&self, error: &Error) {
        let Some(db) = lock(&self.db).clone() else { return };
        {
            let mut verdict = lock(&self.verdict);
            if verdict.failure.is_some() {
                return;
            }
            verdict.examinations += 1;
            verdict.suspicion.get_or_insert(cause(error));
            self.state.store(DOUBTED, Release);
        }
        monitor::wake();
        if let Err(error) = self.waiting(|| db.flush()) {
            self.fail(cause(&error.into()));
        }
        let mut verdict = lock(&self.verdict);
        verdict.examinations -= 1;
        if verdict.examinations == 0 && verdict.failure.is_none() {
            verdict.suspicion = None;
            self.state.store(SOUND, Release);
        }
        self.decided.notify_all();
    }

    /// Run something that waits until the log is stable. `monitor` ends the wait by `fail` if there is no progress.
    pub fn waiting<T>(&self, work: impl FnOnce() -> T) -> T {
        if self.waiting.fetch_add(1, Relaxed) == 0 {
            monitor::wake();
        }
        let _end = OnDrop(|| {
            self.waiting.fetch_sub(1, Relaxed);
        });
        work()
    }

    pub fn is_waiting(&self) -> bool {
        self.waiting.load(Relaxed) > 0
    }

    pub fn is_doubted(&self) -> bool {
        self.state.load(Relaxed) == DOUBTED
    }

    /// Up to which position the log is stable.
    pub fn stable(&self) -> Lsn {
        lock(&self.db).as_ref().map_or(0, |db| db.context.pagecache.log.stable_offset())
    }

    /// Whether the folder is still where it was opened. sled finds blob files by their path.
    pub fn is_in_place(&self) -> bool {
        fs::metadata(self.folder.join("db")).is_ok_and(|file| identity(&file) == self.identity)
    }

    /// The error that sled's own threads have met, if any.
    pub fn background_error(&self) -> Option<io::Error> {
        match lock(&self.db).as_ref()?.context.global_error() {
            Err(sled::Error::Io(error)) => Some(error),
            Err(error) => Some(io::Error::other(error)),
            Ok(()) => None,
        }
    }

    /// Declare the database failed, and stop sled's threads from writing. The first error that was met is the cause.
    pub fn fail(&self, cause: io::Error) {
        {
            let mut verdict = lock(&self.verdict);
            if verdict.failure.is_some() {
                return;
            }
            let cause = verdict.suspicion.take().unwrap_or(cause);
            verdict.failure =
                Some(Failure { cause: Arc::new(cause), folder: self.folder.clone(), needs_restart: false });
            self.state.store(FAILED, Release);
        }
        monitor::note_failure();
        if let Some(db) = &*lock(&self.db) {
            self.quarantine(db);
        }
        self.decided.notify_all();
    }

    /// Replace the descriptor to which sled writes, and write until sled notices, which ends every wait for the log.
    fn quarantine(&self, db: &sled::Db) {
        if let (Some(descriptor), Ok(file)) = (self.descriptor, self.file()) {
            replace_descriptor(descriptor, &file);
            let _ = file.try_lock(); // sled's lock ended with its descriptor
        }
        for pause in QUARANTINE {
            let writer = db.clone();
            let _ = thread::Builder::new()
                .name("sled-quarantine".into())
                .spawn(move || guard::discard_panic(|| write_something(&writer)));
            thread::sleep(Duration::from_millis(pause));
            if db.context.global_error().is_err() {
                break;
            }
        }
    }
}

/// Write a few bytes to the log, and wait for them. A new tree's pages are small, so they never need a blob file.
fn write_something(db: &sled::Db) {
    const NAME: &str = "__sled_sessions__failed";
    let _ = db.open_tree(NAME);
    let _ = db.drop_tree(NAME);
    let _ = db.flush();
}

fn cause(error: &Error) -> io::Error {
    match error {
        Error::Sled(sled::Error::Io(error)) | Error::SledAt(sled::Error::Io(error), _) => copy(error),
        Error::Panic(what) => io::Error::other(format!("sled panicked: {what}")),
        other => io::Error::other(format!("{other:?}")),
    }
}

/// sled and `std` have no copies of I/O errors.
pub fn copy(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| io::Error::new(error.kind(), error.to_string()), io::Error::from_raw_os_error)
}

fn identity(file: &fs::Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

/// The one descriptor of this process that may write to the file.
fn writable_descriptor(file: (u64, u64)) -> io::Result<Option<i32>> {
    let mut numbers = fs::read_dir("/dev/fd")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let is_file = |number: &i32| fs::metadata(format!("/dev/fd/{number}")).is_ok_and(|it| identity(&it) == file);
    Ok(numbers.find(|number| is_file(number) && is_writable(*number)))
}

/// Linux tells how a descriptor was opened. Elsewhere sled's is the only one at this moment.
fn is_writable(descriptor: i32) -> bool {
    let Ok(info) = fs::read_to_string(format!("/proc/self/fdinfo/{descriptor}")) else { return true };
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok()).is_none_or(|flags| flags & 0o3 == 0o2)
}

/// Make `descriptor` another name of `file`.
#[allow(unsafe_code)] // no safe function replaces a descriptor that sled owns
fn replace_descriptor(descriptor: i32, file: &File) {
    // SAFETY: both descriptors are open; `descriptor` stays owned by sled, which closes it once as before. Nothing
    // relies on it being writable but for sled's writes, which return the error.
    unsafe {
        let mut descriptor = ManuallyDrop::new(OwnedFd::from_raw_fd(descriptor));
        let _ = dup2(file, &mut descriptor);
    }
}
