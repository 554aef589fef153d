"""The floors read and write the same bytes as the store, so that comparing their times is fair."""

import pytest

from benchmarks import floors, store
from benchmarks.database import Database, make
from benchmarks.workload import Workload
from sled_sessions import SledStore, SweepStrategy
from sled_sessions.comparison.measuring import take_turns
from sled_sessions.comparison.workload import FIRST_EXPIRY, LIFETIME
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


def test_floors_write_the_same_bytes(tmp_path, workload, database):
    """The floors write the same bytes as the store, in both trees."""
    with SledStore.open(tmp_path / "other") as other:
        for number in range(SESSIONS):
            other.save(workload.record(number))
        assert everything(other.tree) == everything(database.tree)
        assert everything(other.tree.db.open_tree("session:expiry")) == everything(database.index)
    assert database.store.verify_index()


def test_floors_delete_the_same_sessions(database, workload):
    """The floors of both sweeps delete the same sessions as the store."""
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


def test_floor_builds_the_same_index(database):
    """The floor of the index build writes the same entries as the store."""
    floor = database.tree.db.open_tree("floor")
    floors.build_index(database.tree, floor)
    assert everything(floor) == everything(database.index)


def test_floors_encode_the_dates(workload):
    """The floors encode the workload's dates as the store does."""
    for number in (0, 1, SESSIONS - 1):
        expiry = workload.expiry(number)
        assert FIRST_EXPIRY <= expiry < FIRST_EXPIRY + LIFETIME
        assert workload.record(number).encode() == floors._encode(floors.parts(workload.record(number)))


@pytest.mark.parametrize("repeat", [1, 2])
def test_operations_restore_the_index(database, repeat):
    """The operations on all sessions leave the index unchanged, whichever side runs last."""
    before = everything(database.index)
    for operation in store.on_all_sessions(database):
        take_turns({"ours": operation.ours, "floor": operation.floor}, repeat)
    assert database.store.resolution is not None
    assert everything(database.index) == before
