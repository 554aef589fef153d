"""The floors do the store's reads and writes, so that the comparison is one of like with like."""

import pytest

from sled_sessions import SledStore, SweepStrategy
from sled_sessions.bench import floors, store
from sled_sessions.bench.database import Database, make
from sled_sessions.bench.measuring import take_turns
from sled_sessions.bench.workload import FIRST_EXPIRY, LIFETIME, Workload
from sled_sessions.records.codec import to_microseconds, to_moment

SESSIONS = 300


@pytest.fixture
def workload():
    return Workload(SESSIONS)


@pytest.fixture
def database(tmp_path, workload):
    make(tmp_path / "storage", workload)
    with Database.open(tmp_path / "storage", workload) as database:
        yield database


def everything(tree):
    return dict(iter(tree))


def test_records_have_250_bytes(workload):
    """The workload's records are as long as the documentation says, in each version."""
    assert {len(workload.record(number, version).encode()) for number in (0, 299) for version in (0, 7)} == {250}


def test_the_same_bytes(tmp_path, workload, database):
    """What the floors write is what the store writes, in both trees."""
    with SledStore.open(tmp_path / "other") as other:
        for number in range(SESSIONS):
            other.save(workload.record(number))
        assert everything(other.tree) == everything(database.tree)
        assert everything(other.tree.db.open_tree("session:expiry")) == everything(database.index)
    assert database.store.verify_index()


def test_the_same_sweeps(database, workload):
    """The floors of both sweeps delete what the store deletes."""
    now = workload.due_at(0.1)
    due = workload.due_by(now)
    assert 0 < due < SESSIONS
    left = {}
    for name, sweep in {
        "store, index": lambda: database.store.delete_expired(now=now).deleted,
        "store, scan": lambda: database.store.delete_expired(SweepStrategy.FULL_SCAN, now=now).deleted,
        "floor, index": lambda: floors.sweep_index(database.tree, database.index, floors.bound(to_microseconds(now))),
        "floor, scan": lambda: floors.sweep_by_scan(database.tree, database.index, to_moment(now)),
    }.items():
        assert sweep() == due
        left[name] = (everything(database.tree), everything(database.index))
        database.put_back(range(due))
        assert database.store.verify_index()
    assert all(each == left["store, index"] for each in left.values())


def test_the_same_index(database):
    """The floor of the index build writes the entries that the store does."""
    floor = database.tree.db.open_tree("floor")
    floors.build_index(database.tree, floor)
    assert everything(floor) == everything(database.index)


def test_dates(workload):
    """The floors' way with dates is right for the dates of the workload."""
    for number in (0, 1, SESSIONS - 1):
        expiry = workload.expiry(number)
        assert FIRST_EXPIRY <= expiry < FIRST_EXPIRY + LIFETIME
        assert workload.record(number).encode() == floors._encode(floors.parts(workload.record(number)))


@pytest.mark.parametrize("repeat", [1, 2])
def test_the_database_is_as_it_was(database, repeat):
    """Whoever comes last, the operations on all sessions leave the index as they found it: requests follow."""
    before = everything(database.index)
    for operation in store.on_all_sessions(database):
        take_turns({"ours": operation.ours, "floor": operation.floor}, repeat)
    assert database.store.resolution is not None
    assert everything(database.index) == before
