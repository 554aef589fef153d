//! What stands around every call into sled: not in a forked child, not inside a transaction's callback, without the
//! GIL, and no panic gets out.

use std::{
    cell::{Cell, RefCell},
    mem::ManuallyDrop,
    num::NonZeroU64,
    panic::{self, AssertUnwindSafe, PanicHookInfo},
    path::PathBuf,
    process,
    sync::{
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use pyo3::{prelude::*, types::PyString};

use crate::{
    engine,
    error::{Error, Result},
    v1,
};

/// The process whose sled threads are running; 0 before the first open.
static OWNER: AtomicU32 = AtomicU32::new(0);

/// Set in a child that was forked from `OWNER`. Asking the kernel for the pid costs a good part of a `get`, so the hot
/// path reads this flag, which Python's own fork hook sets. Whoever forks from C and goes on with Python calls
/// `PyOS_AfterFork_Child`, which runs that hook as well.
static FORKED: AtomicBool = AtomicBool::new(false);

/// How long who waits sleeps between two looks at pending signals, such as Ctrl-C.
pub const SIGNAL_INTERVAL: Duration = Duration::from_millis(50);

/// The number of the transaction whose callback runs, sled lets one at a time; 0 when none does.
static TRANSACTION: AtomicU64 = AtomicU64::new(0);

/// So many characters of a panic's message say what it is about.
const MESSAGE: usize = 200;

type Listener = Box<dyn FnOnce(String)>;

thread_local! {
    static IN_TRANSACTION: Cell<bool> = const { Cell::new(false) };
    static CATCHING: Cell<bool> = const { Cell::new(false) };
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
    /// Takes the message of a panic instead of `PANIC`, before anything is dropped.
    static ON_PANIC: RefCell<Option<Listener>> = const { RefCell::new(None) };
}

// Run by `os.register_at_fork`; returns the files that the parent has locked. A child of a process that never opened
// sled is free to open it.
#[doc = doc!("after_fork_in_child")]
#[pyfunction]
pub fn after_fork_in_child() -> Vec<PathBuf> {
    FORKED.store(OWNER.load(Relaxed) != 0, Relaxed);
    [engine::locked_files_of_parent(), v1::locked_files()].concat()
}

/// Claim sled's threads for this process; they are started once and for all databases.
pub fn claim_process() -> Result<()> {
    let pid = process::id();
    match OWNER.compare_exchange(0, pid, Relaxed, Relaxed) {
        Err(owner) if owner != pid => Err(Error::Forked),
        _ => Ok(()),
    }
}

fn forked() -> bool {
    FORKED.load(Relaxed) || ![0, process::id()].contains(&OWNER.load(Relaxed))
}

/// For the calls that would hang in a forked child even if the fork hook did not run.
pub fn check_process() -> Result<()> {
    if forked() { Err(Error::Forked) } else { Ok(()) }
}

/// May this thread call into sled?
pub fn check() -> Result<()> {
    if FORKED.load(Relaxed) {
        return Err(Error::Forked);
    }
    if IN_TRANSACTION.get() {
        return Err(Error::InTransaction);
    }
    Ok(())
}

/// Call into sled. Whoever waits for a lock of sled must not hold the GIL: the thread that holds that lock may be
/// waiting for the GIL, to run a transaction's callback.
pub fn call<T: Send>(py: Python<'_>, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    check()?;
    py.detach(|| catch(work))
}

/// The same from within a transaction's callback.
pub fn call_in_transaction<T: Send>(py: Python<'_>, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    if FORKED.load(Relaxed) {
        return Err(Error::Forked);
    }
    py.detach(|| catch(work))
}

/// Mark this thread as being inside a transaction's callback while `work` runs.
pub fn inside_transaction<T>(work: impl FnOnce() -> T) -> T {
    static LAST: AtomicU64 = AtomicU64::new(0);
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            IN_TRANSACTION.set(false);
            TRANSACTION.store(0, Relaxed);
        }
    }
    IN_TRANSACTION.set(true);
    TRANSACTION.store(LAST.fetch_add(1, Relaxed) + 1, Relaxed);
    let _leave = Leave;
    work()
}

/// Tells one transaction whose callback runs from the next; None when none does.
pub fn running_transaction() -> Option<NonZeroU64> {
    NonZeroU64::new(TRANSACTION.load(Relaxed))
}

/// Let go of something whose drop may flush, join threads or delete files.
///
/// In a forked child it leaks: the threads that would do the work are not there. Inside a transaction another thread
/// does it, because joining sled's flusher waits for the lock that the transaction holds; if none can be made, it leaks.
pub fn release<T: Send + 'static>(value: T) {
    if forked() {
        std::mem::forget(value);
    } else if IN_TRANSACTION.get() {
        let value = ManuallyDrop::new(value);
        let _ = thread::Builder::new().spawn(move || drop(ManuallyDrop::into_inner(value)));
    } else {
        let mut value = Some(value);
        let done = Python::try_attach(|py| {
            let value = value.take();
            py.detach(|| quietly(|| drop(value)))
        });
        if done.is_none() {
            quietly(|| drop(value));
        }
    }
}

/// Turn a panic into an error.
pub fn catch<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let before = CATCHING.replace(true);
    let outcome = panic::catch_unwind(AssertUnwindSafe(work));
    CATCHING.set(before);
    outcome.unwrap_or_else(|_| Err(Error::Panic(PANIC.take().unwrap_or_default())))
}

/// Run `work` in a thread of its own, from a thread that does not hold the GIL. Ctrl-C and a panic end the wait for it,
/// whatever becomes of that thread.
pub fn apart<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let (tell, hear) = mpsc::channel();
    let run = move || {
        let tell_panic = tell.clone();
        ON_PANIC.set(Some(Box::new(move |what| drop(tell_panic.send(Err(Error::Panic(what)))))));
        // When nobody waits any more, the outcome is dropped here.
        let _ = tell.send(catch(work));
    };
    thread::Builder::new().name("sled-apart".into()).spawn(run).map_err(|error| Error::Sled(error.into()))?;
    loop {
        match hear.recv_timeout(SIGNAL_INTERVAL) {
            Ok(outcome) => return outcome,
            Err(RecvTimeoutError::Timeout) => Python::attach(|py| py.check_signals())?,
            Err(RecvTimeoutError::Disconnected) => return Err(Error::Panic("its thread has ended".into())),
        }
    }
}

/// Print an error that nobody can catch, as Python prints what a finalizer raises.
pub fn report(error: Error, place: &str) {
    let mut error = Some(error);
    Python::try_attach(|py| {
        if let Some(error) = error.take() {
            let pending = PyErr::take(py); // another exception may be what has dropped the last reference
            PyErr::from(error).write_unraisable(py, Some(PyString::new(py, place).as_any()));
            if let Some(pending) = pending {
                pending.restore(py);
            }
        }
    });
    if let Some(error) = error {
        eprintln!("{place}: {error:?}");
    }
}

/// Run `work` where nobody could be told of a panic.
pub fn quietly(work: impl FnOnce()) {
    let _ = catch(|| {
        work();
        Ok(())
    });
}

/// Keep the message of a panic that `catch` will turn into an error, instead of printing it. Panics elsewhere (in
/// sled's own threads, say) are printed as before.
pub fn quiet_caught_panics() {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |info| match ON_PANIC.take() {
        Some(tell) => tell(describe(info)),
        None if CATCHING.get() => PANIC.set(Some(describe(info))),
        None => print(info),
    }));
}

fn describe(info: &PanicHookInfo<'_>) -> String {
    let text = info.payload();
    let text = text.downcast_ref::<String>().map(String::as_str).or(text.downcast_ref::<&str>().copied());
    // Behind the first line, or instead of one, sled shows what the tree holds.
    let what: String = text.unwrap_or("no message").lines().next().unwrap_or_default().chars().take(MESSAGE).collect();
    match info.location() {
        Some(at) => {
            let file = at.file();
            let file = file.rsplit_once("/src/").map_or(file, |(_, inside)| inside);
            format!("{what} ({file}:{})", at.line())
        }
        None => what,
    }
}
