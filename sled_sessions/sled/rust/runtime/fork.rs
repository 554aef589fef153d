//! Forks: sled's I/O threads exist only in the process that opened it.

use std::{
    path::PathBuf,
    process,
    sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
};

use crate::{
    error::{Error, Result},
    runtime::claims,
};

/// The process in which sled's threads run; 0 before the first open.
static OWNER: AtomicU32 = AtomicU32::new(0);

/// Set in a child that was forked from `OWNER` by the hook that Python runs after each fork. Reading this flag is much
/// cheaper than asking the kernel for the pid, which would be a good part of the cost of a `get`. C code that forks and
/// continues in Python must call `PyOS_AfterFork_Child`, which runs the hook too.
static FORKED: AtomicBool = AtomicBool::new(false);

/// Make every later call fail if the parent has opened sled; return the files that the parent has locked.
pub fn enter_child() -> Vec<PathBuf> {
    FORKED.store(OWNER.load(Relaxed) != 0, Relaxed);
    claims::take_from_parent()
}

/// Register this process as the one in which sled's threads run. They are started once, for all databases.
pub fn claim_process() -> Result<()> {
    let pid = process::id();
    match OWNER.compare_exchange(0, pid, Relaxed, Relaxed) {
        Err(owner) if owner != pid => Err(Error::Forked),
        _ => Ok(()),
    }
}

pub fn is_forked() -> bool {
    FORKED.load(Relaxed) || ![0, process::id()].contains(&OWNER.load(Relaxed))
}

/// For calls that would hang in a forked child even if the fork bypassed Python's hook.
pub fn check_process() -> Result<()> {
    if is_forked() { Err(Error::Forked) } else { Ok(()) }
}

/// The cheap check, for all other calls.
pub fn check_flag() -> Result<()> {
    if FORKED.load(Relaxed) { Err(Error::Forked) } else { Ok(()) }
}
