"""Reading databases from elsewhere in a child process with limits, because sled crashes or hangs on some crafted files.

sled trusts whatever has the right checksum, so a database that was made to do so can crash the process that reads it,
hang it, or fill the memory. The command itself then still ends with one line and an exit code.
"""

import errno
import multiprocessing
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import attrs
import click

from sled_sessions import sled
from sled_sessions.cli import common
from sled_sessions.display.text import exactly
from sled_sessions.operate import OperationError, remove_partial_folders
from sled_sessions.stores.sweep import Progress

P = ParamSpec("P")
T = TypeVar("T")

_CLEANING = 10  # seconds that an interrupted child has for removing what it has written


@attrs.frozen
class Limits:
    """What the child process may use: bytes of memory, and time by the clock."""

    memory: int
    time: timedelta


def limit_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options `--memory-limit` and `--time-limit`."""
    return common.together(
        click.option("--memory-limit", type=common.Size(), default="8G", help="The most memory to use for reading it."),
        click.option("--time-limit", type=common.timespan, default="1h", help="When to give up."),
    )(function)


def run_limited(
    function: Callable[..., T],
    old: Path,
    new: Path,
    *args: object,
    limits: Limits,
    progress: Progress,
    **options: object,
) -> T:
    """Call `function(old, new, *args, progress=..., **options)` in a child process, and return or raise what it does.

    Ctrl-C ends both processes. If the child ends otherwise, what it has written of `new` is removed.

    Raises:
        Corruption: The child crashed.
        OperationError: It reached the time limit.
    """
    context = multiprocessing.get_context("spawn")  # sled's threads, if there are any, do not survive a fork
    receiver, sender = context.Pipe(duplex=False)
    work = (function, (old, new, *args), options)
    child = context.Process(target=_run, args=(sender, limits, work), daemon=True)
    child.start()
    sender.close()
    try:
        with receiver, _ended(child):
            while True:
                match receiver.recv():
                    case "progress", done, total:
                        progress(done, total)
                    case "returned", outcome:
                        returned: T = outcome
                        return returned
                    case "raised", error if _is_shortage(error):
                        raise OperationError(f"reading {old} takes more memory than --memory-limit: set a higher one")
                    case "raised", error:
                        raise error
    except EOFError:
        remove_partial_folders(new, child.pid or 0)
        raise _explained(-(child.exitcode or 0), old, limits) from None


@contextmanager
def _ended(child: SpawnProcess) -> Iterator[None]:
    """Wait for the child at the end; interrupt it if this process was interrupted."""
    try:
        yield
    except KeyboardInterrupt:
        child.terminate()
        raise
    finally:
        child.join(_CLEANING)
        child.kill()
        child.join()


def _explained(number: int, old: Path, limits: Limits) -> Exception:
    """The error for a child that was ended by this signal."""
    if number == signal.SIGALRM:
        return OperationError(
            f"{old} was not read within {exactly(limits.time)}: sled may be caught in a damaged or crafted database; "
            "for a large one, set a longer --time-limit"
        )
    name = signal.Signals(number).name if number in list(signal.Signals) else "an exit"
    return sled.Corruption(
        f"{old} is damaged or crafted: {name} ended the process that read it (or it takes more memory than "
        "--memory-limit). Restore a backup"
    )


def _is_shortage(error: BaseException) -> bool:
    """Whether this is what the memory limit leads to. A thread that cannot have a stack fails with EAGAIN."""
    return isinstance(error, MemoryError) or (
        isinstance(error, OSError) and error.errno in (errno.EAGAIN, errno.ENOMEM)
    )


def _run(sender: Connection, limits: Limits, work: tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]) -> None:
    """What the child does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends Ctrl-C to both; the parent passes it on
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.stderr.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # sled's threads print their panics
    signal.setitimer(signal.ITIMER_REAL, limits.time.total_seconds())
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    memory = limits.memory if most == resource.RLIM_INFINITY else min(limits.memory, most)
    resource.setrlimit(resource.RLIMIT_DATA, (memory, most))
    function, args, options = work
    try:
        outcome = function(*args, progress=lambda done, total: sender.send(("progress", done, total)), **options)
    except BaseException as error:
        sender.send(("raised", error))
        raise
    else:
        sender.send(("returned", outcome))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGKILL)
