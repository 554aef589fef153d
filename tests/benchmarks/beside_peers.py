"""The store beside other session stores."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from itertools import count
from math import isnan
from pathlib import Path
from typing import Any

from benchmarks import peers, probe
from benchmarks.database import size
from benchmarks.peers.base import Peer, Session
from benchmarks.peers.sled import SledPeer
from benchmarks.result import PeerLine
from benchmarks.workload import Workload
from sled_sessions import Id
from sled_sessions.comparison.measuring import Side, Spread, take_turns

BATCH = 200
"""Operations in one run; some peers take a millisecond for each."""

_MOST_ALL_DUE = 10_000
"""The largest database of which all sessions are swept: beyond it some peers take minutes to store them again."""


def choose(names: tuple[str, ...], sessions: int) -> tuple[dict[str, type[Peer]], list[str]]:
    """The store and the peers to measure, and notes about those that are left out and about what a power cut loses."""
    chosen: dict[str, type[Peer]] = {SledPeer.name: SledPeer}
    notes = []
    for name in names:
        found = peers.find(name)
        if found is None:
            notes.append(f"{name}: not installed (pip install {peers.needs(name)})")
        elif sessions > found.most:
            notes.append(f"{name}: not measured with more than {found.most:,} sessions: filling it takes minutes")
        else:
            chosen[name] = found
    notes += [f"{name}: a power cut may lose {peer.loses}" for name, peer in chosen.items()]
    return chosen, notes


def lines(
    classes: Mapping[str, type[Peer]], sessions: int, repeat: int, tell: Callable[[str], object]
) -> Iterator[PeerLine]:
    """Disk, memory and opening of each, then each operation, timed in turns on filled stores."""
    workload = Workload(sessions)
    with ExitStack() as stack:
        folders = {name: Path(stack.enter_context(tempfile.TemporaryDirectory())) for name in classes}
        for name, made in classes.items():
            _fill(made, folders[name], workload, tell)
        disk = {name: Spread.of([size(folder) / sessions]) for name, folder in folders.items()}
        yield PeerLine("size on disk, for a session", sessions, disk, "B")
        memory = {name: probe.ask("peer-memory", name, folder, sessions) for name, folder in folders.items()}
        if not any(map(isnan, memory.values())):
            grown = {name: Spread.of([each]) for name, each in memory.items()}
            yield PeerLine(f"memory, opened and {probe.LOADS:,} loads", sessions, grown, "B")
        openings = {name: _opening(made, folders[name]) for name, made in classes.items() if made.has_opening}
        times = take_turns(openings, max(repeat // 4, 3), budget=30)
        yield PeerLine("open", sessions, {name: Spread.of(each) for name, each in times.items()})
        opened = {name: stack.enter_context(closing(made(folders[name]))) for name, made in classes.items()}
        for peer in opened.values():  # otherwise the first loads would time the disk
            for numbers in workload.batches():
                peer.load(map(workload.id, numbers))
        for name, side, rarer in _operations(workload):
            sides = {peer: found for peer, store in opened.items() if (found := side(store)) is not None}
            times = take_turns(sides, max(repeat // rarer, 3), budget=30)
            yield PeerLine(name, sessions, {peer: Spread.of(each) for peer, each in times.items()})


def _fill(made: type[Peer], folder: Path, workload: Workload, tell: Callable[[str], object]) -> None:
    with closing(made(folder)) as peer:
        for numbers in workload.batches():
            peer.save([session(workload, number) for number in numbers], new=True)
            tell(f"{workload.sessions:,} sessions: filling {made.name}, {numbers.stop / workload.sessions:.0%}")


def _opening(made: type[Peer], folder: Path) -> Side:
    opened: list[Peer] = []
    return Side(lambda turn: opened.append(made(folder)), restore=lambda turn: opened.pop().close())


def session(workload: Workload, number: int, version: int = 0, expiry: datetime | None = None) -> Session:
    """A session of the workload, as a peer takes it."""
    return workload.id(number), workload.data(version), expiry or workload.expiry(number)


def _operations(workload: Workload) -> Iterator[tuple[str, Callable[[Peer], Side | None], int]]:
    """For each operation: its name, its side for a peer (None without that operation), and the divisor of the turns."""
    fresh, news = count(1), count()

    def known(turn: int) -> list[Session]:
        version = next(fresh)
        delay = timedelta(seconds=10) * version
        return [
            session(workload, number, version, workload.expiry(number) + delay)
            for number in workload.random_numbers(BATCH)
        ]

    def new(turn: int) -> list[Session]:
        return [session(workload, number) for number in workload.new_numbers(BATCH, next(news))]

    def ids(turn: int) -> list[Id]:
        return [workload.id(number) for number in workload.random_numbers(BATCH)]

    def stored(peer: Peer) -> Callable[[int], list[Id]]:
        def store(turn: int) -> list[Id]:
            sessions = new(turn)
            peer.save(sessions, new=True)
            return [id for id, *_ in sessions]

        return store

    def expired(peer: Peer) -> Callable[[int], object]:
        def store(turn: int) -> None:
            past = datetime.now(UTC) - timedelta(seconds=10)
            numbers = workload.new_numbers(workload.due, next(news))
            peer.save([session(workload, number, 0, past) for number in numbers], new=True)

        return store

    def changes(turn: int) -> list[Session]:
        return [(id, {"visits": data["visits"]}, expiry) for id, data, expiry in known(turn)]

    def save_all(peer: Peer, expiry: datetime | None = None) -> None:
        for numbers in workload.batches():
            peer.save([session(workload, number, 0, expiry) for number in numbers], new=expiry is None)

    def all_expired(peer: Peer) -> Callable[[int], object]:
        return lambda turn: save_all(peer, datetime.now(UTC) - timedelta(seconds=10))

    def sweep(peer: Peer, prepare: Callable[[int], object], restore: Any = None) -> Side | None:
        return Side(lambda given: peer.sweep(), prepare, restore) if peer.has_sweep else None

    def side(run: Callable[[Any], object], prepare: Callable[[int], Any], restore: Any = None) -> Side:
        return Side(run, prepare, restore, None)

    yield "load", lambda peer: side(peer.load, ids), 2
    yield "save, known session", lambda peer: side(lambda given: peer.save(given, new=False), known), 2
    yield (
        "save, new session",
        lambda peer: side(
            lambda given: peer.save(given, new=True), new, lambda given: peer.delete([id for id, *_ in given])
        ),
        2,
    )
    yield "update", lambda peer: side(peer.update, changes), 2
    yield "delete", lambda peer: side(peer.delete, stored(peer)), 2
    yield "sweep, nothing due", lambda peer: sweep(peer, lambda turn: None), 2
    yield "sweep, 1 % due", lambda peer: sweep(peer, expired(peer)), 6
    if workload.sessions <= _MOST_ALL_DUE:
        yield "sweep, all due", lambda peer: sweep(peer, all_expired(peer), lambda given: save_all(peer)), 10
