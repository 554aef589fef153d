"""The store and its peers, side by side."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from sled_sessions import Id
from sled_sessions.bench import peers
from sled_sessions.bench.database import size
from sled_sessions.bench.measuring import Side, Spread, take_turns
from sled_sessions.bench.peers.base import Peer, Session
from sled_sessions.bench.peers.sled import SledPeer
from sled_sessions.bench.result import PeerLine
from sled_sessions.bench.workload import Workload

BATCH = 200
"""Operations in a run: some of the peers take a millisecond for one."""

_FILL = 1000


def choose(names: tuple[str, ...], sessions: int) -> tuple[dict[str, type[Peer]], list[str]]:
    """The store and those of its peers that are installed and can hold so many sessions; and notes on the others."""
    chosen: dict[str, type[Peer]] = {SledPeer.name: SledPeer}
    notes = []
    for name in names:
        found = peers.find(name)
        if found is None:
            notes.append(f"{name}: not installed (pip install {peers.needs(name)})")
        elif sessions > found.most:
            notes.append(f"{name}: not measured with more than {found.most:,} sessions, it takes minutes to fill")
        else:
            chosen[name] = found
    notes += [f"{name}: a power cut may cost {peer.loses}" for name, peer in chosen.items()]
    return chosen, notes


def lines(classes: Mapping[str, type[Peer]], sessions: int, repeat: int) -> Iterator[PeerLine]:
    """Each operation, timed in turns on stores that hold the workload's sessions."""
    workload = Workload(sessions)
    with _filled(classes, workload) as (opened, disk):
        for name, side, rarer in _operations(workload):
            sides = {peer: made for peer, store in opened.items() if (made := side(store)) is not None}
            times = take_turns(sides, max(repeat // rarer, 3), budget=30)
            yield PeerLine(name, sessions, {peer: Spread.of(each) for peer, each in times.items()})
        yield PeerLine(
            "size on disk", sessions, {peer: Spread.of([each / sessions]) for peer, each in disk.items()}, "B"
        )


@contextmanager
def _filled(classes: Mapping[str, type[Peer]], workload: Workload) -> Iterator[tuple[dict[str, Peer], dict[str, int]]]:
    """The peers with the workload's sessions in them, and the bytes that those took."""
    with ExitStack() as stack:
        opened, disk = {}, {}
        for name, made in classes.items():
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            peer = made(folder)
            for start in range(0, workload.sessions, _FILL):
                numbers = range(start, min(start + _FILL, workload.sessions))
                peer.save([session(workload, number) for number in numbers], new=True)
            peer.close()
            disk[name] = size(folder)
            opened[name] = made(folder)
            stack.callback(opened[name].close)
            for start in range(0, workload.sessions, _FILL):  # else what is timed is how its pages come off the disk
                opened[name].load(map(workload.id, range(start, min(start + _FILL, workload.sessions))))
        yield opened, disk


def session(workload: Workload, number: int, version: int = 0, expiry: datetime | None = None) -> Session:
    """A session of the workload."""
    return workload.id(number), workload.data(version), expiry or workload.expiry(number)


def _operations(workload: Workload) -> Iterator[tuple[str, Callable[[Peer], Side | None], int]]:
    """Names, sides, and by what to divide the number of turns."""
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
    yield "delete", lambda peer: side(peer.delete, stored(peer)), 2
    yield (
        "sweep, 1 % due",
        lambda peer: Side(lambda given: peer.sweep(), expired(peer)) if peer.has_sweep else None,
        6,
    )
