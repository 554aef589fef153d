//! What every call into sled goes through: it is not made in a forked child or inside a transaction's function, the GIL
//! is released, and a panic becomes an error.

use std::{
    cell::{Cell, RefCell},
    mem::ManuallyDrop,
    num::NonZeroU64,
    panic::{self, AssertUnwindSafe, PanicHookInfo},
    sync::{
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use pyo3::{prelude::*, types::PyString};

use crate::{
    error::{Error, Result},
    runtime::{fork, monitor},
};

/// How often a waiting call checks for signals such as Ctrl-C.
pub const SIGNAL_INTERVAL: Duration = Duration::from_millis(50);

/// The number of the transaction whose function is running, 0 if there is none. sled runs one at a time.
static TRANSACTION: AtomicU64 = AtomicU64::new(0);

/// A panic's message is cut to this many characters.
const MESSAGE: usize = 200;

type Listener = Box<dyn FnOnce(String)>;

thread_local! {
    static IN_TRANSACTION: Cell<bool> = const { Cell::new(false) };
    static CATCHING: Cell<bool> = const { Cell::new(false) };
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
    /// Receives the message of a panic instead of `PANIC`, before unwinding drops anything.
    static ON_PANIC: RefCell<Option<Listener>> = const { RefCell::new(None) };
}

/// May this thread call into sled?
pub fn check() -> Result<()> {
    fork::check_flag()?;
    if IN_TRANSACTION.get() { Err(Error::InTransaction) } else { Ok(()) }
}

/// Whether this thread is running a transaction's function, and so holds the lock that other writers wait for.
pub fn in_transaction() -> bool {
    IN_TRANSACTION.get()
}

/// Call into sled. A thread that waits for a lock of sled must not hold the GIL: the thread that holds the lock may
/// need the GIL to run a transaction's function.
pub fn call<T: Send>(py: Python<'_>, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    check()?;
    py.detach(|| catch(work))
}

/// The same, inside a transaction's function.
pub fn call_in_transaction<T: Send>(py: Python<'_>, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    fork::check_flag()?;
    py.detach(|| catch(work))
}

/// Calls its function when it is dropped, also by a panic.
pub struct OnDrop<F: FnMut()>(pub F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        self.0();
    }
}

/// Mark this thread as inside a transaction's function while `work` runs.
pub fn inside_transaction<T>(work: impl FnOnce() -> T) -> T {
    static LAST: AtomicU64 = AtomicU64::new(0);
    IN_TRANSACTION.set(true);
    TRANSACTION.store(LAST.fetch_add(1, Relaxed) + 1, Relaxed);
    let _leave = OnDrop(|| {
        IN_TRANSACTION.set(false);
        TRANSACTION.store(0, Relaxed);
    });
    work()
}

/// Identifies the transaction whose function is running, if any.
pub fn running_transaction() -> Option<NonZeroU64> {
    NonZeroU64::new(TRANSACTION.load(Relaxed))
}

/// Drop something whose drop may flush, join threads or delete files.
///
/// In a forked child it leaks, because the threads that would do the work are missing. Inside a transaction another
/// thread drops it, because joining sled's flusher waits for the transaction's lock; if no thread can be started, it
/// leaks.
pub fn release<T: Send + 'static>(value: T) {
    if fork::is_forked() {
        std::mem::forget(value);
    } else if IN_TRANSACTION.get() {
        let value = ManuallyDrop::new(value);
        let _ = thread::Builder::new().spawn(move || drop(ManuallyDrop::into_inner(value)));
    } else {
        let mut value = Some(value);
        let done = Python::try_attach(|py| {
            let value = value.take();
            py.detach(|| discard_panic(|| drop(value)))
        });
        if done.is_none() {
            discard_panic(|| drop(value));
        }
    }
}

/// Turn a panic into an error. Inside another `catch` that one's listener does not hear of it.
pub fn catch<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let before = CATCHING.replace(true);
    let listener = before.then(|| ON_PANIC.take()).flatten();
    let outcome = panic::catch_unwind(AssertUnwindSafe(work));
    CATCHING.set(before);
    if before {
        ON_PANIC.set(listener);
    }
    outcome.unwrap_or_else(|_| Err(Error::Panic(PANIC.take().unwrap_or_default())))
}

/// Catch a panic where no caller could handle it.
pub fn discard_panic(work: impl FnOnce()) {
    let _ = catch(|| {
        work();
        Ok(())
    });
}

/// Run `work` in a separate thread and wait for it without the GIL. Ctrl-C or a panic ends the wait; the thread may run
/// on.
pub fn call_interruptibly<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let (sender, receiver) = mpsc::channel();
    let run = move || {
        let on_panic = sender.clone();
        ON_PANIC.set(Some(Box::new(move |what| drop(on_panic.send(Err(Error::Panic(what)))))));
        let _ = sender.send(catch(work)); // fails if the wait has ended, and drops the outcome here
    };
    thread::Builder::new().name("sled-apart".into()).spawn(run).map_err(|error| Error::Sled(error.into()))?;
    loop {
        match receiver.recv_timeout(SIGNAL_INTERVAL) {
            Ok(outcome) => return outcome,
            Err(RecvTimeoutError::Timeout) => Python::attach(|py| py.check_signals())?,
            Err(RecvTimeoutError::Disconnected) => return Err(Error::Panic("its thread has ended".into())),
        }
    }
}

/// Print an error that no caller can catch, as Python prints what a finalizer raises.
pub fn report(error: Error, place: &str) {
    let mut error = Some(error);
    Python::try_attach(|py| {
        if let Some(error) = error.take() {
            let pending = PyErr::take(py); // the exception during which the last reference was dropped, if any
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

/// Do not print panics that `catch` turns into errors; keep their message. Panics elsewhere, such as in sled's own
/// threads, are printed as usual.
pub fn silence_caught_panics() {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |info| match ON_PANIC.take() {
        Some(tell) => tell(describe(info)),
        None if CATCHING.get() => PANIC.set(Some(describe(info))),
        None => {
            if thread::current().name().is_some_and(|name| name.starts_with("sled-io") || name == "log flusher") {
                monitor::alarm(format!("a thread of sled panicked: {}", describe(info)));
            }
            print(info);
        }
    }));
}

fn describe(info: &PanicHookInfo<'_>) -> String {
    let text = info.payload();
    let text = text.downcast_ref::<String>().map(String::as_str).or(text.downcast_ref::<&str>().copied());
    // From the second line on, sled may list everything that the tree contains.
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
