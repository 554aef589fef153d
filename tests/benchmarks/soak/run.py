"""A soak: a churn, a kill, and what a new process finds."""

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias

import attrs

from benchmarks.soak.churn import Options
from benchmarks.soak.footprint import Footprint
from benchmarks.soak.ledger import Ledger
from benchmarks.soak.process import Process, check
from sled_sessions import operate
from sled_sessions.stores.sweep import Progress

Line: TypeAlias = dict[str, Any]
"""What a line of JSON holds."""


def soak(options: Options, operations: int | None, duration: timedelta | None, progress: Progress) -> Iterator[Line]:
    """Churn for so many operations or so long, whichever ends first, and at least for a line; kill; reopen and check.

    Yields the churn's lines, then one that has the files just after the kill, after opening and after closing the
    database, and what was `wrong`.
    """
    folder, ledger = Path(options.folder), Ledger(Path(options.ledger), options.live)
    most = float("inf") if duration is None else duration.total_seconds()
    with Process(options, ledger) as process:
        process.wait_until_ready()
        start, is_printed = time.monotonic(), False
        for line in process.lines(float("inf")):
            if line is not None:
                is_printed = True
                yield line
            done, seconds = ledger.operations, time.monotonic() - start
            if operations is None:
                progress(round(min(seconds, most)), round(most))
            else:
                progress(min(done, operations), operations)
            if is_printed and (seconds >= most or (operations is not None and done >= operations)):
                break
        promised = process.kill()
    took, killed = time.monotonic() - start, Footprint.of(folder)
    start = time.monotonic()
    db, store = options.open(ledger)
    opening = time.monotonic() - start
    with db:
        reopened = Footprint.of(folder)
        wrong = check(store, options, ledger, promised)
        checked = operate.check_everything(store)
        if not checked:
            wrong.append(f"the check of everything says {checked}")
    yield {
        "seconds": round(took, 1),
        "operations": ledger.operations,
        "per_second": round(ledger.operations / took),
        "live_bytes": checked.contents.size,
        "killed": attrs.asdict(killed),
        "reopened": attrs.asdict(reopened),
        "closed": attrs.asdict(Footprint.of(folder)),
        "opening_ms": round(1000 * opening, 1),
        "wrong": wrong,
    }
    ledger.close()
