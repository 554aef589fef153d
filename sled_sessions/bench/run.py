"""The whole benchmark, in order."""

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

from sled_sessions.bench import comparison, peers, process, shared, store, web
from sled_sessions.bench.database import Database, Sizes, make
from sled_sessions.bench.measuring import Spread, machine
from sled_sessions.bench.result import Line, PeerLine, Result
from sled_sessions.bench.workload import Workload

SIZES = (10_000, 100_000, 1_000_000)

_UNFINISHED = "null"

FEWEST = 100
"""Sessions; with fewer there is no hundredth to sweep."""

PARTS = {"process": 5, "store": 6, "sweeps": 9, "web": 5, "redis": 1, "peers": 11}
"""What can be measured, and in about how many steps for each size."""

Found: TypeAlias = Line | PeerLine | str
Watch: TypeAlias = Callable[[int, str], object]
"""Called with how many steps have been done, and with what was measured last or is being filled."""

DISK = 2600
"""Bytes on the disk for each session, at most, from some thousands of them on."""


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
        sizes: Numbers of sessions, each in a database of its own; up to `DISK` bytes of disk for each session.
        peers: Names of what else is measured, where it is installed.
        parts: Which of `PARTS`.
        repeat: Turns for the quickest operations; the longer ones get fewer.
        folder: Keep the databases here, and use those that are here; None: in temporary folders.
        watch: Told how far it is.
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
    if "process" in parts:
        yield from process.import_lines(max(repeat // 2, 3))
    if "redis" in parts:
        yield from shared.lines(repeat)
    for sessions in sizes:
        workload = Workload(sessions)
        if set(parts) - {"redis", "peers"}:
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
            chosen, notes = comparison.choose(peers, sessions)
            yield from notes
            if len(chosen) > 1:
                yield from comparison.lines(chosen, sessions, repeat, tell)


@contextmanager
def _folder(kept: Path | None, workload: Workload, tell: Callable[[str], object]) -> Iterator[tuple[Path, Sizes]]:
    """A database, and what it took on the disk when it was made."""

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
        raise FileExistsError(errno.EEXIST, "there already, and not made by the benchmark", str(place))
    disk = _read(note) if place.is_dir() else None
    note.write_text(_UNFINISHED)  # until the end: a run that is interrupted leaves sessions where they do not belong
    if disk is None:
        shutil.rmtree(place, ignore_errors=True)
        disk = make(place, workload, progress)
    yield place, disk
    note.write_text(json.dumps(attrs.asdict(disk)))


def _read(note: Path) -> Sizes | None:
    """What a run that came to its end has noted."""
    try:
        return Sizes(**json.loads(note.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _derived(lines: Iterable[Line]) -> list[Line]:
    """Lines that compare lines: of one size, and of the largest size with the smallest."""
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
