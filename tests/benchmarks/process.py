"""What a process pays before its first session: import, opening and memory; and the size of the database."""

from collections.abc import Callable, Iterator
from math import isnan
from pathlib import Path
from typing import TypeVar

from benchmarks import probe
from benchmarks.database import Database, Sizes
from benchmarks.result import Line
from benchmarks.workload import Workload
from sled_sessions import SweepStrategy
from sled_sessions.comparison.measuring import Spread

_T = TypeVar("_T")

_DEPENDENCIES = ("attrs", "msgspec", "sortedcontainers")


def import_lines(repeat: int) -> Iterator[Line | str]:
    """The time of the import, and a note about the heavy packages that it loads."""
    ours, other = _in_turns(
        lambda: probe.import_seconds("sled_sessions"), lambda: probe.import_seconds(*_DEPENDENCIES), repeat
    )
    loaded = ours[0][1]
    times = [[seconds for seconds, _ in side] for side in (ours, other)]
    yield Line.compare("import", 0, times[0], times[1], f"import {', '.join(_DEPENDENCIES)}")
    heavy = [name for name in probe.HEAVY if name in loaded]
    yield f"importing sled_sessions loads {', '.join(heavy) if heavy else 'none of ' + ', '.join(probe.HEAVY)}"


def folder_lines(folder: Path, workload: Workload, repeat: int, sizes: Sizes) -> Iterator[Line]:
    """The time to open a closed database, its size, and the memory of the processes that use it."""
    sessions = workload.sessions
    ours, other = _in_turns(lambda: probe.ask("opening", folder), lambda: probe.ask("opening-bare", folder), repeat)
    yield Line.compare("open", sessions, ours, other, "open sled and the tree of the records")
    yield Line.compare(
        "size on disk",
        sessions,
        [sizes.with_index / sessions],
        [sizes.records / sessions],
        "the records alone, inserted once; for one session",
        unit="B",
    )
    idle = probe.ask("idle-memory", folder)
    if isnan(idle):
        return
    yield Line("memory, just opened", sessions, Spread.of([idle]), unit="B")
    for name, strategy in (("index sweep of 1 %", SweepStrategy.EXPIRY_INDEX), ("full scan", SweepStrategy.FULL_SCAN)):
        grown = probe.ask("sweep-memory", folder, strategy.value, workload.due_at(0.01).isoformat())
        if isnan(grown):
            return
        yield Line(f"memory, {name}", sessions, Spread.of([grown]), other_is="growth over the idle store", unit="B")
        with Database.open(folder, workload) as database:
            database.put_back(range(workload.due))


def _in_turns(ours: Callable[[], _T], other: Callable[[], _T], repeat: int) -> tuple[list[_T], list[_T]]:
    """The answers of both. Every other turn runs in reverse order, because the second one finds the files cached."""
    answers: dict[Callable[[], _T], list[_T]] = {ours: [], other: []}
    for turn in range(repeat + 1):
        for ask in (ours, other) if turn % 2 else (other, ours):
            answer = ask()
            if turn:  # turn 0 reads the files from the disk
                answers[ask].append(answer)
    return answers[ours], answers[other]
