"""Kill a churn again and again, and check each time what it left."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import attrs

from benchmarks.soak.churn import Options
from benchmarks.soak.ledger import Ledger, Snapshot
from benchmarks.soak.process import ChurnFailed, Process, check
from sled_sessions import SessionError, sled

MOMENTS = ("writing", "opening", "opening again")

_START = 0.6
"""About the seconds that a process takes to start and to open a database."""

_WRITING = {"interval": 3.0, "flush": 1.0, "fsync": 1.0}
"""The most seconds of writing before a kill; "interval" promises nothing about the first two."""

_VERIFY = 100
"""The most seconds that `sled-sessions verify` may take."""


@attrs.frozen
class Kill:
    """A kill, or two in a row, and what they left.

    Attributes:
        moment: What the last killed process did, one of `MOMENTS`.
        operations: The operations that had begun in all processes on this database.
        wrong: What is wrong; empty if everything is right.
    """

    moment: str
    operations: int
    wrong: list[str]


def kills(options: Options, count: int, random: Random) -> Iterator[Kill]:
    """Kill a churn on one database `count` times at random moments; when something is wrong, continue on a new one.

    A fifth of the processes are killed while they start and open the database. After a quarter of the kills, another
    process is killed that opens what the first one left.
    """
    folder = options.folder
    ledger = Ledger(Path(options.ledger), options.live)
    for turn in range(count):
        moment = "opening" if random.random() < 0.2 else "writing"
        try:
            promised = _kill(options, ledger, random, is_opening=moment == "opening")
            if random.random() < 0.25:
                moment = "opening again"
                _kill(attrs.evolve(options, threads=0), ledger, random, is_opening=True)
            is_filled = ledger.operations > 0  # before, there may be no database yet
            wrong = (_verify(options) if is_filled else []) or _check(options, ledger, promised)
        except (ChurnFailed, SessionError, sled.SledError) as error:
            wrong = [f"{type(error).__name__}: {error}"]
        yield Kill(moment, ledger.operations, wrong)
        if wrong:
            ledger.close()
            options = attrs.evolve(options, folder=f"{folder}-{turn}", ledger=f"{options.ledger}-{turn}")
            ledger = Ledger(Path(options.ledger), options.live)
    ledger.close()


def _kill(options: Options, ledger: Ledger, random: Random, *, is_opening: bool) -> Snapshot:
    with Process(options, ledger) as process:
        if not is_opening:
            process.wait_until_ready()
        for _ in process.lines(random.uniform(0, _START if is_opening else _WRITING[options.durability])):
            pass
        return process.kill()


def _verify(options: Options) -> list[str]:
    """What `sled-sessions verify` says, which is the first to open the database; nothing if its exit code is 0."""
    command = [sys.executable, "-m", "sled_sessions", "verify", options.folder]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_VERIFY, check=False)
    return [] if done.returncode == 0 else [f"verify: exit code {done.returncode}: {done.stdout}{done.stderr}"]


def _check(options: Options, ledger: Ledger, promised: Snapshot) -> list[str]:
    db, store = options.open(ledger)
    with db:
        return check(store, options, ledger, promised)
