"""The store's operations, each beside its floor: the bare engine calls on the same trees of the same database."""

import time
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from itertools import count
from typing import Any

import attrs

from benchmarks import floors
from benchmarks.database import Database
from benchmarks.result import Line
from sled_sessions import Id, Record, SweepStrategy
from sled_sessions.comparison.measuring import Side, take_turns
from sled_sessions.comparison.workload import FIRST_EXPIRY
from sled_sessions.records.codec import to_microseconds, to_moment

BATCH = 2000
"""Operations in one run, which then takes some milliseconds; the timer's resolution is about a microsecond."""

_STEP = timedelta(seconds=10)
_MOST_ALL_DUE = 1_000_000
"""The largest database of which all sessions are swept: beyond it a turn takes minutes and shows nothing new."""


@attrs.frozen
class Operation:
    """An operation of the store and its floor.

    Attributes:
        name: The name of its line in the results.
        floor_is: The calls that the floor consists of.
        ours: The store's side.
        floor: The other side.
        rarer: The divisor of the number of turns. Long operations vary little and need fewer turns.
    """

    name: str
    floor_is: str
    ours: Side
    floor: Side
    rarer: int = 1

    def measure(self, sessions: int, repeat: int) -> Line:
        """Time both sides in turns."""
        times = take_turns({"ours": self.ours, "floor": self.floor}, max(repeat // self.rarer, 3))
        return Line.compare(self.name, sessions, times["ours"], times["floor"], self.floor_is)


def on_one_session(database: Database) -> Iterator[Operation]:
    """Load, save, update and delete, in an order that keeps each independent of what the others wrote."""
    workload, store, tree, index = database.workload, database.store, database.tree, database.index
    # Every write must change the stored bytes, those of an earlier run included: sled skips a write that does not.
    fresh = count(int(time.time()) % (1 << 30))
    steps, news = count(next(fresh) % 10_000), count()

    def ids(turn: int) -> list[Id]:
        return [workload.id(number) for number in workload.random_numbers(BATCH)]

    def known(turn: int) -> list[Record]:
        version = next(fresh)
        return [workload.record(number, version) for number in workload.random_numbers(BATCH)]

    def moved(turn: int) -> list[Record]:
        # The floor updates no index entries, so it must not write a session that has moved: those have odd numbers.
        version, delay = next(fresh), _STEP * next(steps)
        return [workload.record(number, version, delay) for number in workload.random_numbers(BATCH, odd=True)]

    def new(turn: int) -> list[Record]:
        return [workload.record(number) for number in workload.new_numbers(BATCH, next(news))]

    def stored(turn: int) -> list[Record]:
        records = new(turn)
        save(records)
        return records

    def parts(make: Callable[[int], list[Record]]) -> Callable[[int], list[floors.Parts]]:
        return lambda turn: [floors.parts(record) for record in make(turn)]

    def save(records: Iterable[Record]) -> None:
        save_one = store.save
        for record in records:
            save_one(record)

    def load(ids: Iterable[Id]) -> None:
        load_one = store.load
        for id in ids:
            load_one(id)

    def update(ids: Iterable[Id]) -> None:
        version, update_one = next(fresh), store.update

        def change(record: Record) -> Record:
            record.data["visits"] = version
            return record

        for id in ids:
            update_one(id, change)

    def delete(ids: Iterable[Id]) -> None:
        delete_one = store.delete
        for id in ids:
            delete_one(id)

    def save_floor(records: Iterable[floors.Parts]) -> None:
        floors.save(tree, records)

    def side(run: Callable[[Any], object], prepare: Callable[[int], Any], restore: Any = None) -> Side:
        return Side(run, prepare, restore, operations=None)

    def pairs(turn: int) -> list[tuple[bytes, bytes]]:
        return [(bytes(record.id), floors.entry(record)) for record in stored(turn)]

    yield Operation(
        "load",
        "get, decode",
        side(load, ids),
        side(lambda keys: floors.load(tree, keys), lambda turn: floors.keys(ids(turn))),
    )
    yield Operation("save, same index step", "encode, insert", side(save, known), side(save_floor, parts(known)))
    yield Operation(
        "update",
        "get, decode, encode, insert",
        side(update, ids),
        side(lambda keys: floors.update(tree, keys, next(fresh)), lambda turn: floors.keys(ids(turn))),
    )
    yield Operation("save, other index step", "encode, insert", side(save, moved), side(save_floor, parts(known)))
    yield Operation(
        "save, new session",
        "encode, insert",
        side(save, new, lambda records: delete(record.id for record in records)),
        side(save_floor, parts(new), lambda parts: delete(Id(key) for key, *_ in parts)),
    )
    yield Operation(
        "delete",
        "remove the record, remove its entry",
        side(delete, lambda turn: [record.id for record in stored(turn)]),
        side(lambda given: floors.delete(tree, index, given), pairs),
    )


def on_all_sessions(database: Database) -> Iterator[Operation]:
    """The sweeps and the index build."""
    workload, store, tree, index = database.workload, database.store, database.tree, database.index
    by_index, by_scan = SweepStrategy.EXPIRY_INDEX, SweepStrategy.FULL_SCAN

    def due(share: float) -> Iterator[Operation]:
        now = workload.due_at(share)
        due = workload.due_by(now)
        name = "all" if due == workload.sessions else f"{share * 100:.3g} %"

        def side(run: Callable[[], int], divisor: int) -> Side:
            def checked(turn: int) -> None:
                if (deleted := run()) != due:
                    raise AssertionError(f"deleted {deleted} sessions, but {due} are due")

            return Side(checked, restore=lambda turn: database.put_back(range(due)), operations=divisor)

        stop, until = floors.bound(to_microseconds(now)), to_moment(now)
        rarer = 4 if due < workload.sessions else 10
        yield Operation(
            f"index sweep, {name} due",
            "range over the index; for each due one: get, two removes",
            side(lambda: store.delete_expired(by_index, now=now).deleted, 1),
            side(lambda: floors.sweep_index(tree, index, stop), 1),
            rarer,
        )
        yield Operation(
            f"full scan, {name} due",
            "iterate, decode the expiry; for each due: get, two removes",
            side(lambda: store.delete_expired(by_scan, now=now).deleted, 1),
            side(lambda: floors.sweep_by_scan(tree, index, until), 1),
            rarer,
        )

    nothing = floors.bound(to_microseconds(FIRST_EXPIRY - timedelta(hours=1)))
    times = range(100)  # a single sweep takes no longer than a call of the timer
    yield Operation(
        "index sweep, nothing due",
        "range over the index",
        Side(lambda turn: [store.delete_expired(by_index) for _ in times], operations=len(times)),
        Side(lambda turn: [floors.sweep_index(tree, index, nothing) for _ in times], operations=len(times)),
    )
    yield Operation(
        "full scan, nothing due",
        "iterate, decode the expiry",
        Side(lambda turn: store.delete_expired(by_scan)),
        Side(lambda turn: floors.scan(tree)),
        rarer=2,
    )
    yield from due(0.001)
    yield from due(0.01)
    if workload.sessions <= _MOST_ALL_DUE:
        yield from due(2)  # twice the lifetime, because the saves above have moved some expiries
    yield _index_build(database)
    database.build_index()  # the floor's side, which leaves no index, may have run last


def _index_build(database: Database) -> Operation:
    tree, name = database.tree, b"floor"

    def without_index(turn: int) -> None:
        database.drop_index()
        len(tree)  # sled frees a dropped tree during later calls, which must not be those of the build

    def empty(turn: int) -> Any:
        without_index(turn)
        return tree.db.open_tree(name)

    return Operation(
        "index build",
        "iterate, decode the expiry; for each: insert",
        Side(lambda turn: database.build_index(), prepare=without_index),
        Side(lambda index: floors.build_index(tree, index), empty, lambda index: tree.db.drop_tree(name)),
        rarer=4,
    )
