"""A churn in a process of its own: starting it, reading its lines, killing it, and checking what it left."""

import json
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Self

import attrs

from benchmarks.soak.churn import Options
from benchmarks.soak.ledger import Found, Ledger, Snapshot
from sled_sessions import SledStore

MARGIN = 1.5
"""Seconds that a write with `durability="interval"` gets to reach the file, beyond twice sled's flush interval."""

_TESTS = str(Path(__file__).resolve().parents[2])
_PROGRAM = f"import sys; sys.path.append({_TESTS!r}); from benchmarks.soak.churn import main; main()"
_STEP = 0.1
_START = 60
_END = ""


class ChurnFailed(Exception):
    """The churn ended by itself: the store raised, or a session was not what its visitor had left."""


class Process:
    """A running churn, which the end of the `with` block kills."""

    def __init__(self, options: Options, ledger: Ledger) -> None:
        self._options = options
        self._ledger = ledger
        margin = MARGIN + 2 * options.flush_every_ms / 1000
        self._noted = deque([ledger.copy()], maxlen=round(margin / _STEP) + 1)  # the first one is `margin` seconds old
        self._child = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, json.dumps(attrs.asdict(options))],
            stdin=subprocess.PIPE,  # which ends when this process does, however that happens
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for this process, which then kills the child
            text=True,
        )
        self.pid = self._child.pid
        self._lines: SimpleQueue[str] = SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def lines(self, seconds: float) -> Iterator[dict[str, Any] | None]:
        """What the child prints within some seconds, with a None every tenth of a second.

        Raises:
            ChurnFailed: The child reported a failure, or ended.
        """
        until = time.monotonic() + seconds
        noted = time.monotonic()
        while (now := time.monotonic()) < until:
            if now >= noted + _STEP:
                noted = now
                self._noted.append(self._ledger.copy())
            try:
                text = self._lines.get(timeout=min(_STEP, until - now))
            except Empty:
                yield None
                continue
            if text == _END:
                raise ChurnFailed(f"the churn ended with exit code {self._child.wait()}")
            line = json.loads(text)
            if "failure" in line:
                raise ChurnFailed(line["failure"])
            yield line

    def wait_until_ready(self) -> None:
        """Return when the child has opened its store."""
        for line in self.lines(_START):
            if line is not None:
                return
        raise ChurnFailed(f"the churn has not opened its store within {_START} seconds")

    def kill(self) -> Snapshot:
        """Kill -9, and return the notes of what has to be in the database afterwards."""
        assert self._child.stdin is not None
        self._child.kill()
        self._child.wait()
        self._child.stdin.close()
        return self._noted[0] if self._options.durability == "interval" else self._ledger.copy()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _read(self) -> None:
        assert self._child.stdout is not None
        with self._child.stdout as lines:
            for line in lines:
                self._lines.put(line)
        self._lines.put(_END)


def check(store: SledStore, options: Options, ledger: Ledger, promised: Snapshot) -> list[str]:
    """Compare a store with the ledger of a killed churn, which can then go on; return what is wrong."""
    found = Found.read(store.records(), options.content())
    found.compare(ledger, promised)
    ledger.settle(found.sessions)
    return found.wrong
