//! The thread that finds failed databases whose failure no call has met: sled's own threads have met it, or calls wait
//! for a log that makes no progress.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Condvar, Mutex, Once, PoisonError},
    thread,
    time::{Duration, Instant},
};

use sled::Lsn;

use crate::runtime::{
    engine::{self, Engine},
    guard,
    health::Health,
    locks::lock,
};

/// How often to look while nothing waits. sled's default interval between flushes, which bounds what a crash may lose.
const IDLE: Duration = Duration::from_millis(500);

/// How often to look while calls wait for a log.
const BUSY: Duration = Duration::from_millis(100);

/// How many looks in a row must find no progress: 2 seconds after an error, 30 without one, when the disk may be slow.
/// Looks are counted, not seconds, so that a process that was stopped does not seem stalled when it goes on.
const DOUBTED_LOOKS: u32 = 20;
const LOOKS: u32 = 300;

/// For how long an alarm is taken for a consequence of a failure that was found.
const EXPLAINED: Duration = Duration::from_secs(10);

static SIGNAL: Mutex<Signal> = Mutex::new(Signal { woken: false, alarm: None, last_failure: None });
static SIGNALLED: Condvar = Condvar::new();

struct Signal {
    woken: bool,
    alarm: Option<String>,
    last_failure: Option<Instant>,
}

/// Start the thread, once.
pub fn start() {
    static START: Once = Once::new();
    START.call_once(|| drop(thread::Builder::new().name("sled-monitor".into()).spawn(run)));
}

/// Look at the databases soon: something waits.
pub fn wake() {
    lock(&SIGNAL).woken = true;
    SIGNALLED.notify_one();
}

/// Report an error of one of sled's threads, which does not say which database it belongs to.
pub fn alarm(what: String) {
    lock(&SIGNAL).alarm.get_or_insert(what);
    SIGNALLED.notify_one();
}

/// A database was found failed, which explains the alarms that sled's threads give about now.
pub fn note_failure() {
    lock(&SIGNAL).last_failure = Some(Instant::now());
}

fn run() {
    let mut progress: HashMap<usize, (Lsn, u32)> = HashMap::new();
    let mut pause = IDLE;
    loop {
        let alarm = {
            let quiet = |signal: &mut Signal| !signal.woken && signal.alarm.is_none();
            let (mut signal, _) =
                SIGNALLED.wait_timeout_while(lock(&SIGNAL), pause, quiet).unwrap_or_else(PoisonError::into_inner);
            signal.woken = false;
            signal.alarm.take()
        };
        let engines = engine::engines();
        if let Some(what) = alarm {
            explain(&engines, &what);
        }
        progress.retain(|key, _| engines.iter().any(|engine| key_of(engine.health()) == *key));
        pause = IDLE;
        for engine in &engines {
            let health = engine.health();
            if health.is_waiting() {
                pause = BUSY;
                watch(health, progress.entry(key_of(health)).or_default());
            } else {
                progress.remove(&key_of(health));
            }
            if let Some(error) = health.background_error() {
                health.fail(error);
            } else if !engine.is_temporary() && !health.is_in_place() {
                health.fail(io::Error::new(io::ErrorKind::NotFound, "the folder was removed or renamed"));
            }
        }
        if pause == BUSY {
            thread::sleep(BUSY); // or each `wake` would count as a look
            pause = Duration::ZERO;
        }
    }
}

fn key_of(health: &Health) -> usize {
    std::ptr::from_ref(health).addr()
}

/// Count the looks without progress.
fn watch(health: &Health, (stable, looks): &mut (Lsn, u32)) {
    if guard::running_transaction().is_some() {
        return; // flushes wait for the end of its function
    }
    let now = health.stable();
    *looks = if *stable == now { *looks + 1 } else { 0 };
    *stable = now;
    if *looks > if health.is_doubted() { DOUBTED_LOOKS } else { LOOKS } {
        health.fail(io::Error::new(io::ErrorKind::TimedOut, "the log is not being written"));
    }
}

/// Find the databases that an alarm is about. If none of them has met an error, it may be any.
fn explain(engines: &[Arc<Engine>], what: &str) {
    let is_explained = || lock(&SIGNAL).last_failure.is_some_and(|at| at.elapsed() < EXPLAINED);
    if engines.iter().all(|engine| engine.health().background_error().is_none()) && !is_explained() {
        engines.iter().for_each(|engine| engine.health().fail(io::Error::other(what)));
    }
}
