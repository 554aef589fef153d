"""How a SledStore finds, builds and drops its index."""

import sys
import threading
from contextlib import contextmanager
from datetime import timedelta

import attrs
import msgspec
import pytest
from stores.indexes import index_tree

from sled_sessions import SessionError, SledStore, SweepStrategy


@pytest.fixture
def store(tree, clock):
    return SledStore(tree, clock=clock)


def test_opening_builds_a_missing_index(tree, clock, new_record):
    """Opening a store on records without an index builds the index and reports progress."""
    records = [new_record(seconds) for seconds in range(-5, 5)]
    for record in records:
        tree.insert(record.id.key, record.encode())
    steps = []
    store = SledStore(tree, clock=clock, progress=lambda done, total: steps.append((done, total)))
    assert steps[-1] == (10, 10)
    assert store.verify_index().entries == 10
    assert store.delete_expired().deleted == 6


def test_unmarked_index_is_rebuilt(store, tree, clock, new_record):
    """An index without a marker, as a crash during the build leaves it, is rebuilt."""
    store.save(new_record(-1))
    index_tree(store).clear()
    tree.db.open_tree("session:meta").clear()
    del store
    assert SledStore(tree, clock=clock).delete_expired().deleted == 1


@pytest.mark.parametrize(
    "marker", [b"", b"garbage", msgspec.msgpack.encode({"version": 99, "resolution_us": 1_000_000})]
)
def test_unknown_marker_is_rebuilt(store, tree, clock, new_record, marker):
    """An index whose marker has an unknown format is rebuilt."""
    store.save(new_record(-1))
    index_tree(store).insert(b"of another format", b"")
    tree.db.open_tree("session:meta").insert(b"expiry_index", marker)
    again = SledStore(tree, clock=clock)
    assert again.verify_index().entries == 1
    assert again.delete_expired().deleted == 1


def test_changed_resolution_rebuilds(store, tree, clock, new_record):
    """Opening with another resolution rebuilds the index; stores already open on the tree keep it right."""
    record = new_record(90)
    store.save(record)
    coarse = SledStore(tree, resolution=timedelta(hours=1), clock=clock)
    assert coarse.first_expiry().minute == 0
    assert coarse.verify_index()
    store.save(attrs.evolve(record, expiry_date=new_record(4000).expiry_date))
    assert coarse.verify_index()
    assert coarse.verify_index().entries == 1


def test_full_scan_drops_the_index(store, tree, clock, new_record):
    """Opening with FULL_SCAN drops the index; other stores on the tree scan until the next store rebuilds it."""
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
    "foreign meta tree": {b"session:meta": {b"schema": b"7"}},
    "foreign expiry tree": {b"session:expiry": {b"monday": b"1"}},
    "both trees foreign": {b"session:meta": {b"schema": b"7"}, b"session:expiry": {b"monday": b"1"}},
}
"""Trees that a program had under these names before the store."""


def _contents(db):
    return {name: dict(pairs) for _, name, pairs in db.export()}


@pytest.fixture(params=FOREIGN.values(), ids=FOREIGN)
def foreign(request, db, new_record):
    """A database with a session and with a program's own trees under the names of the index's; returns its contents."""
    record = new_record()
    db.open_tree("session").insert(record.id.key, record.encode())
    for name, pairs in request.param.items():
        for key, value in pairs.items():
            db.open_tree(name).insert(key, value)
    return _contents(db)


def test_full_scan_leaves_foreign_trees_alone(db, clock, foreign):
    """A FULL_SCAN store leaves a program's own trees alone, even under the names of an index's trees."""
    store = SledStore(db.open_tree("session"), strategy=SweepStrategy.FULL_SCAN, clock=clock)
    assert store.delete_expired().deleted == 0
    assert _contents(db) == foreign


def test_index_is_not_built_over_foreign_trees(db, clock, foreign):
    """A store whose index would need a program's own tree refuses to open, names the cure, and writes nothing."""
    with pytest.raises(ValueError, match="tree of another name, or without an index"):
        SledStore(db.open_tree("session"), clock=clock)
    assert _contents(db) == foreign


def test_threads_open_the_first_store_together(db, fast_switching):
    """Threads that open the first store on a tree together all succeed; none takes the new index for foreign trees."""
    opened = []
    for number in range(100):
        tree = db.open_tree(f"tree {number}")
        threads = [threading.Thread(target=lambda on: opened.append(SledStore(on)), args=[tree]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(opened) == 400


def test_dropping_the_index_keeps_other_meta_keys(db, store, tree, clock, new_record):
    """Dropping the index keeps a program's own keys in the meta tree, even after an interrupted build."""
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


def test_marker_without_entries_is_rebuilt(store, tree, clock, new_record):
    """An index whose entries were dropped is rebuilt although its marker is still there."""
    store.save(new_record(-1))
    tree.db.drop_tree("session:expiry")
    assert SledStore(tree, clock=clock).delete_expired().deleted == 1


def test_sweeps_scan_after_an_interrupted_build(store, tree, clock, new_record):
    """After an interrupted build, sweeps read all records until a rebuild completes the index."""
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


def test_invalid_resolution_creates_no_trees(db, tree):
    """A store that refuses its resolution has created no trees."""
    with pytest.raises(ValueError, match="resolution must be"):
        SledStore(tree, resolution=timedelta(0))
    assert db.tree_names() == [b"__sled__default", b"session"]


@contextmanager
def interrupt_at(event, function):
    """Raise KeyboardInterrupt, as Ctrl-C does, at the "c_call" or "c_return" of an engine function."""

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
def test_interrupted_drop_keeps_every_entry(tree, clock, new_record, event):
    """When dropping the index is interrupted, records written by other stores still end up in the index."""
    store = SledStore(tree, clock=clock)
    store.save(new_record())
    with pytest.raises(KeyboardInterrupt), interrupt_at(event, "drop_tree"):
        SledStore(tree, strategy=SweepStrategy.FULL_SCAN, clock=clock)
    assert (b"session:expiry" in tree.db.tree_names()) is (event == "c_call")
    for _ in range(5):
        store.save(new_record())
    del store
    assert SledStore(tree, clock=clock).verify_index()
