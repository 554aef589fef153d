"""Ctrl-C interrupts long calls."""

import collections
import functools
import operator
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest
from engine.processes import python

from sled_sessions import sled

PAIRS = 200_000
ATTEMPTS = 20

# Calls with their argument. They run no Python code, so only the engine can check for signals.
CALLS: dict[str, Callable[[sled.Db, sled.Db], tuple[Callable[..., object], object]]] = {
    "len": lambda db, _: (len, db),
    "clear": lambda db, _: (operator.methodcaller("clear"), db),
    "iterate": lambda db, _: (functools.partial(collections.deque, maxlen=0), db),
    "import_": lambda db, target: (target.import_, db.export()),
}


class Interrupted(BaseException):
    """Raised by the signal, like KeyboardInterrupt by Ctrl-C."""


def interrupt(_number: int, _frame: FrameType | None) -> None:
    raise Interrupted


@pytest.mark.parametrize("name", CALLS)
def test_long_calls(name: str) -> None:
    """A signal during the call ends it."""
    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        assert any(is_interrupted(name) for _ in range(ATTEMPTS))
    finally:
        signal.signal(signal.SIGUSR1, before)


def is_interrupted(name: str) -> bool:
    """Send the signal about when the call begins; return False also if it came too early or too late."""
    with sled.open(temporary=True) as db, sled.open(temporary=True) as target:
        for start in range(0, PAIRS, 1000):
            batch = sled.Batch()
            for number in range(start, start + 1000):
                batch.insert(number.to_bytes(8, "big"), b"value")
            db.apply_batch(batch)
        call, argument = CALLS[name](db, target)
        arguments, outcomes = iter([argument]), list[object]()
        begins = threading.Event()
        sender = threading.Thread(target=lambda: (begins.wait(), os.kill(os.getpid(), signal.SIGUSR1)))
        sender.start()
        try:
            begins.set()
            collections.deque(map(outcomes.append, map(call, arguments)), maxlen=0)
            sender.join()
        except Interrupted:
            return next(arguments, None) is None and outcomes == []
        return False


@pytest.mark.parametrize("call", ["db.checksum()", "sled.Tree.checksum(db)"])
def test_waiting_checksum(folder: Path, call: str) -> None:
    """Ctrl-C ends a checksum that waits for another thread's transaction."""
    code = f"""
import os, signal, sys, threading
from sled_sessions import sled
db = sled.open(sys.argv[1])
begun, done = threading.Event(), threading.Event()
threading.Thread(target=sled.transaction, args=[lambda _: (begun.set(), done.wait()), db]).start()
begun.wait()
threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
try: {call}
except KeyboardInterrupt: print("interrupted")
done.set()
"""
    done = python(code, folder)
    assert (done.stdout, done.stderr) == ("interrupted\n", "")
