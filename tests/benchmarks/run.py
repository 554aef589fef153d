"""Measure everything, in order."""

import errno
import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

import attrs

from benchmarks import beside_peers, peers, process, store, valkey, web, whole_session
from benchmarks.database import Database, Sizes, make
from benchmarks.result import Line, PeerLine, Result
from benchmarks.shapes import SHAPES
from benchmarks.workload import Workload
from sled_sessions.comparison.measuring import Spread, machine

SIZES = (10_000, 100_000, 1_000_000)

FEWEST = 100
"""The smallest number of sessions; with fewer, one percent of them is less than a session."""

PARTS = {"calls": 3, "process": 5, "shapes": len(SHAPES), "store": 6, "sweeps": 9, "web": 5, "redis": 1, "peers": 11}
"""The parts of a run, with their approximate number of progress steps for each size."""

DISK = 2600
"""An upper limit for the bytes of disk per session, in databases of some thousand sessions or more."""

Found: TypeAlias = Line | PeerLine | str
"""A figure, or a note."""

Watch: TypeAlias = Callable[[int, str], object]
"""Called with the number of steps done and a description of the current one."""

_UNFINISHED = "null"


def run(
    sizes: Sequence[int] = SIZES,
    peers: Sequence[str] = peers.NAMES,
    *,
    parts: Sequence[str] = tuple(PARTS),
    repeat: int = 20,
    folder: Path | None = None,
    watch: Watch | None = None,
) -> Result:
    """Measure the package.

    Args:
        sizes: Numbers of sessions, each in a database of its own that takes up to `DISK` bytes of disk per session.
        peers: Names of other session stores to measure, if they are installed.
        parts: The parts to measure, from `PARTS`.
        repeat: Turns for the quickest operations; slower ones get fewer.
        folder: Keep the databases in this folder, and measure those that an earlier run kept. None: temporary folders.
        watch: Called after each step.

    Raises:
        FileExistsError: `folder` contains something that the benchmarks did not make under the name of a database.
    """
    started = datetime.now(UTC).isoformat(timespec="seconds")
    found: list[Found] = []
    done = 0

    def tell(what: str) -> None:
        if watch is not None:
            watch(done, what)

    for each in _all(sizes, tuple(peers), parts, repeat, folder, tell):
        found.append(each)
        if not isinstance(each, str):
            done += 1
            tell(f"{each.sessions:,} sessions: {each.name}")
    lines = [each for each in found if isinstance(each, Line)]
    lines += _derived(lines)
    return Result(
        machine(),
        started,
        repeat,
        lines,
        [each for each in found if isinstance(each, PeerLine)],
        list(dict.fromkeys(each for each in found if isinstance(each, str))),
    )


def _all(
    sizes: Sequence[int],
    peers: tuple[str, ...],
    parts: Sequence[str],
    repeat: int,
    folder: Path | None,
    tell: Callable[[str], object],
) -> Iterator[Found]:
    if "calls" in parts:
        yield from web.call_lines()
    if "process" in parts:
        yield from process.import_lines(max(repeat // 2, 3))
    if "shapes" in parts:
        yield from whole_session.lines(repeat)
    if "redis" in parts:
        yield from valkey.lines(repeat)
    for sessions in sizes:
        workload = Workload(sessions)
        if set(parts) - {"calls", "shapes", "redis", "peers"}:
            with _folder(folder, workload, tell) as (place, disk):
                if "process" in parts:
                    yield from process.folder_lines(place, workload, max(repeat // 4, 3), disk)
                with Database.open(place, workload) as database:
                    database.read_all()
                    for part, operations in (("store", store.on_one_session), ("sweeps", store.on_all_sessions)):
                        if part in parts:
                            for operation in operations(database):
                                yield operation.measure(sessions, repeat)
                    if "web" in parts:
                        yield from web.lines(database, repeat)
        if "peers" in parts:
            chosen, notes = beside_peers.choose(peers, sessions)
            yield from notes
            if len(chosen) > 1:
                yield from beside_peers.lines(chosen, sessions, repeat, tell)


@contextmanager
def _folder(kept: Path | None, workload: Workload, tell: Callable[[str], object]) -> Iterator[tuple[Path, Sizes]]:
    """A folder with a database, and the database's size on disk when it was made."""

    def progress(done: int, total: int | None) -> None:
        tell(f"{total:,} sessions: filling, {done / (total or 1):.0%}")

    if kept is None:
        with tempfile.TemporaryDirectory(prefix="sled_sessions-") as temporary:
            place = Path(temporary) / "storage"
            yield place, make(place, workload, progress)
        return
    place, note = kept / f"storage-{workload.sessions}", kept / f"storage-{workload.sessions}.json"
    kept.mkdir(parents=True, exist_ok=True)
    if place.exists() and not note.exists():
        raise FileExistsError(errno.EEXIST, "already exists, and was not made by the benchmarks", str(place))
    disk = _read(note) if place.is_dir() else None
    note.write_text(_UNFINISHED)  # until the end: an interrupted run leaves changed sessions behind
    if disk is None:
        shutil.rmtree(place, ignore_errors=True)
        disk = make(place, workload, progress)
    yield place, disk
    note.write_text(json.dumps(attrs.asdict(disk)))


def _read(note: Path) -> Sizes | None:
    """The sizes that a run wrote when it finished; None if it did not finish."""
    try:
        return Sizes(**json.loads(note.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _derived(lines: Iterable[Line]) -> list[Line]:
    """Index sweeps compared with full scans of the same size, and the largest size with the smallest."""
    by_name: dict[str, dict[int, Line]] = {}
    for line in lines:
        by_name.setdefault(line.name, {})[line.sessions] = line
    derived = []
    by_scan = by_name.get("full scan, 1 % due", {})
    for sessions, line in by_name.get("index sweep, 1 % due", {}).items():
        derived.append(_against("against full scan", line, by_scan[sessions], "the full scan that deletes the same"))
    by_size = by_name.get("index sweep, nothing due", {})
    if len(by_size) > 1:
        fewest, most = by_size[min(by_size)], by_size[max(by_size)]
        derived.append(_against("against fewest sessions", most, fewest, f"the same with {fewest.sessions:,} sessions"))
    return derived


def _against(how: str, line: Line, other: Line, other_is: str) -> Line:
    ratio = Spread.of([line.ours.median / other.ours.median])
    return Line(f"{line.name}, {how}", line.sessions, line.ours, other.ours, ratio, other_is)
