"""What a process pays before its first session: import, opening, memory; and the bytes on disk."""

from collections.abc import Iterator
from math import isnan
from pathlib import Path

from sled_sessions import SweepStrategy
from sled_sessions.bench import probe
from sled_sessions.bench.database import Database, Sizes
from sled_sessions.bench.measuring import Spread
from sled_sessions.bench.result import Line
from sled_sessions.bench.workload import Workload

_DEPENDENCIES = ("attrs", "msgspec", "sortedcontainers")


def import_lines(repeat: int) -> Iterator[Line | str]:
    """The import, and a note about what it loads besides."""
    turns = [(probe.import_seconds("sled_sessions"), probe.import_seconds(*_DEPENDENCIES)) for _ in range(repeat)]
    ours, other = ([side[0] for side in sides] for sides in zip(*turns, strict=True))
    loaded = turns[0][0][1]
    yield Line.compare("import", 0, ours, other, f"import {', '.join(_DEPENDENCIES)}")
    heavy = [name for name in probe.HEAVY if name in loaded]
    yield f"importing sled_sessions loads {', '.join(heavy) if heavy else 'none of ' + ', '.join(probe.HEAVY)}"


def folder_lines(folder: Path, workload: Workload, repeat: int, sizes: Sizes) -> Iterator[Line]:
    """Opening, memory and size of a database that is closed now."""
    sessions = workload.sessions
    turns = [(probe.ask("opening", folder), probe.ask("opening-bare", folder)) for _ in range(repeat)]
    ours, other = zip(*turns, strict=True)
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
        yield Line(f"memory, {name}", sessions, Spread.of([grown]), other_is="growth over the idle store", unit="B")
        with Database.open(folder, workload) as database:
            database.put_back(range(workload.due))
