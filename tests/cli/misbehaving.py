"""What sled does on some crafted databases, as functions that a child process can import."""

import os
import signal
import time

from sled_sessions.operate import OperationError
from sled_sessions.operate.folders import appearing


def segfault(old, new, *, progress):
    """Crash while the new folder is being filled."""
    with appearing(new) as folder:
        (folder / "db").write_text("some sessions")
        os.kill(os.getpid(), signal.SIGSEGV)


def abort(old, new, *, progress):
    """End as Rust's `abort` does."""
    os.abort()


def leave(old, new, *, progress):
    """End without a word."""
    os._exit(0)


def hang(old, new, *, progress):
    """Do something that no signal handler of Python interrupts, as a call into sled does."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    progress(os.getpid(), None)
    while True:
        time.sleep(1)


def eat(old, new, *, progress):
    """Take more memory than there is."""
    return [bytearray(1 << 24) for _ in range(1 << 16)]


def fail(old, new, *, progress):
    """Raise an error of the package."""
    raise OperationError("nothing can be read")


def answer(old, new, *, progress):
    """Tell progress, and return something."""
    progress(1, 2)
    return old.name, new.name
