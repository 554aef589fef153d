"""How a SledStore finds, builds and drops the index of its records."""

import sys
import threading
from contextlib import contextmanager
from datetime import timedelta

import attrs
import msgspec
import pytest

from sled_sessions import (
    SessionError,
    SledStore,
    SweepStrategy,
)


@pytest.fixture
def store(tree, clock):
    return SledStore(tree, clock=clock)


def _index(store):
    return store.tree.db.open_tree(store.tree.name + b":expiry")


def test_a_tree_without_an_index_gets_one(tree, clock, new_record):
    """Opening a store on records that nobody indexed builds the index and tells how far it is."""
    records = [new_record(seconds) for seconds in range(-5, 5)]
    for record in records:
        tree.insert(record.id.key, record.encode())
    steps = []
    store = SledStore(tree, clock=clock, progress=lambda done, total: steps.append((done, total)))
    assert steps[-1] == (10, 10)
    assert store.verify_index().entries == 10
    assert store.delete_expired().deleted == 6


def test_a_half_built_index_is_built_again(store, tree, clock, new_record):
    """An index whose marker is missing, as a crash while building leaves it, is not trusted."""
    store.save(new_record(-1))
    _index(store).clear()
    tree.db.open_tree("session:meta").clear()
    del store
    assert SledStore(tree, clock=clock).delete_expired().deleted == 1


@pytest.mark.parametrize(
    "marker", [b"", b"garbage", msgspec.msgpack.encode({"version": 99, "resolution_us": 1_000_000})]
)
def test_a_marker_that_is_not_ours(store, tree, clock, new_record, marker):
    """An index of an unknown format is built anew."""
    store.save(new_record(-1))
    _index(store).insert(b"of another format", b"")
    tree.db.open_tree("session:meta").insert(b"expiry_index", marker)
    again = SledStore(tree, clock=clock)
    assert again.verify_index().entries == 1
    assert again.delete_expired().deleted == 1


def test_another_resolution_rebuilds(store, tree, clock, new_record):
    """Opening with another resolution rebuilds the index, also for a store that is already open on the tree."""
    record = new_record(90)
    store.save(record)
    coarse = SledStore(tree, resolution=timedelta(hours=1), clock=clock)
    assert coarse.first_expiry().minute == 0
    assert coarse.verify_index()
    store.save(attrs.evolve(record, expiry_date=new_record(4000).expiry_date))
    assert coarse.verify_index()
    assert coarse.verify_index().entries == 1


def test_full_scan_drops_the_index(store, tree, clock, new_record):
    """A FULL_SCAN store drops the index it would not keep; the tree's other stores scan, the next builds it."""
    store.save(new_record(-3))
    scanning = SledStore(tree, strategy=SweepStrategy.FULL_SCAN, clock=clock)
    assert sorted(tree.db.tree_names()) == [b"__sled__default", b"session"]
    with pytest.raises(SessionError, match="no index"):
        scanning.rebuild_index()
    store.save(new_record(-2))
    report = store.delete_expired(SweepStrategy.EXPIRY_INDEX, limit=1)
    assert (report.deleted, report.strategy) == (1, SweepStrategy.FULL_SCAN)
    assert SledStore(tree, clock=clock).verify_index().entries == 1
    assert store.delete_expired().strategy is SweepStrategy.EXPIRY_INDEX


FOREIGN = {
    "its own meta": {b"session:meta": {b"schema": b"7"}},
    "its own expiry": {b"session:expiry": {b"monday": b"1"}},
    "both": {b"session:meta": {b"schema": b"7"}, b"session:expiry": {b"monday": b"1"}},
}
"""Trees of a program that had them before there was a store."""


def _contents(db):
    return {name: dict(pairs) for _, name, pairs in db.export()}


@pytest.fixture(params=FOREIGN.values(), ids=FOREIGN)
def foreign(request, db, new_record):
    """A database with a session and such trees; all that lies in it."""
    record = new_record()
    db.open_tree("session").insert(record.id.key, record.encode())
    for name, pairs in request.param.items():
        for key, value in pairs.items():
            db.open_tree(name).insert(key, value)
    return _contents(db)


def test_no_index_is_dropped_that_is_none(db, clock, foreign):
    """A FULL_SCAN store leaves trees alone that have the names of an index's and are none."""
    store = SledStore(db.open_tree("session"), strategy=SweepStrategy.FULL_SCAN, clock=clock)
    assert store.delete_expired().deleted == 0
    assert _contents(db) == foreign


def test_no_index_is_built_over_what_is_none(db, clock, foreign):
    """A store that would keep its index in a tree that holds something else says what to do, and writes nothing."""
    with pytest.raises(ValueError, match="tree of another name, or without an index"):
        SledStore(db.open_tree("session"), clock=clock)
    assert _contents(db) == foreign


def test_the_first_stores_of_several_threads(db, fast_switching):
    """Threads that open the first store on a tree together get one index, and take it for none that is foreign."""
    opened = []
    for number in range(100):
        tree = db.open_tree(f"tree {number}")
        threads = [threading.Thread(target=lambda on: opened.append(SledStore(on)), args=[tree]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(opened) == 400


def test_a_marker_among_other_notes(db, store, tree, clock, new_record):
    """Of a meta tree that holds a program's own keys, too, only the marker goes, also when a build was interrupted."""
    store.save(new_record(-1))
    db.open_tree("session:meta").insert(b"schema", b"7")

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        SledStore(tree, resolution=timedelta(minutes=1), progress=interrupt, clock=clock)
    assert SledStore(tree, clock=clock).verify_index().entries == 1
    SledStore(tree, strategy=SweepStrategy.FULL_SCAN, clock=clock)
    assert {name: pairs for name, pairs in _contents(db).items() if name not in (b"session", b"__sled__default")} == {
        b"session:meta": {b"schema": b"7"}
    }


def test_an_index_that_was_dropped_is_built_again(store, tree, clock, new_record):
    """A marker alone is no index: entries that were dropped, or records that came by an import, are noticed."""
    store.save(new_record(-1))
    tree.db.drop_tree("session:expiry")
    assert SledStore(tree, clock=clock).delete_expired().deleted == 1


def test_an_interrupted_build_leaves_no_index(store, tree, clock, new_record):
    """Until the index is whole again every sweep reads all records, and the next build finds what there is."""
    for _ in range(3000):
        tree.insert((record := new_record(-1)).id.key, record.encode())

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.rebuild_index(progress=interrupt)
    assert store.first_expiry() is not None
    assert store.delete_expired(limit=1000).strategy is SweepStrategy.FULL_SCAN
    with pytest.raises(KeyboardInterrupt):
        SledStore(tree, resolution=timedelta(minutes=1), progress=interrupt, clock=clock)
    assert store.rebuild_index().records == 2000
    assert store.verify_index()
    assert store.delete_expired().deleted == 2000


def test_a_wrong_resolution_makes_no_trees(db, tree):
    """An argument that is refused has written nothing."""
    with pytest.raises(ValueError, match="resolution must be"):
        SledStore(tree, resolution=timedelta(0))
    assert db.tree_names() == [b"__sled__default", b"session"]


@contextmanager
def interrupt_at(event, function):
    """Raise KeyboardInterrupt, as Ctrl-C does, at a "c_call" or the "c_return" of the engine's function."""

    def profile(frame, what, called):
        if what == event and called.__name__ == function:
            sys.setprofile(None)
            raise KeyboardInterrupt

    sys.setprofile(profile)
    try:
        yield
    finally:
        sys.setprofile(None)


@pytest.mark.parametrize("event", ["c_call", "c_return"])
def test_a_drop_that_is_interrupted(tree, clock, new_record, event):
    """When a store that keeps no index is interrupted while it drops that of others, what they write has its entry."""
    store = SledStore(tree, clock=clock)
    store.save(new_record())
    with pytest.raises(KeyboardInterrupt), interrupt_at(event, "drop_tree"):
        SledStore(tree, strategy=SweepStrategy.FULL_SCAN, clock=clock)
    assert (b"session:expiry" in tree.db.tree_names()) is (event == "c_call")
    for _ in range(5):
        store.save(new_record())
    del store
    assert SledStore(tree, clock=clock).verify_index()
