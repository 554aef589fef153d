"""Where the marks of changed ids lie, and what becomes of them."""

import struct
from datetime import timedelta

import pytest

from sled_sessions import (
    AsyncStore,
    CachingStore,
    Id,
    MemoryStore,
    SledStore,
    SweepStrategy,
    observe,
)
from sled_sessions.records.codec import to_microseconds
from sled_sessions.stores.adapter import run_inline
from sled_sessions.stores.protocol import mark_rotated, was_rotated


@pytest.fixture
def store(tree, clock) -> SledStore:
    return SledStore(tree, clock=clock)


def marks_in(db) -> dict[bytes, bytes]:
    return dict(db.open_tree("session:rotated"))


def test_bytes_of_a_mark(store, db, clock):
    """A mark is the id's 16 bytes, with the moment in microseconds as 8 bytes, in a tree that the first one creates."""
    id, until = Id.new(), clock() + timedelta(seconds=60)
    assert store.was_rotated(id) is False
    assert b"session:rotated" not in db.tree_names()
    store.mark_rotated(id, until)
    assert marks_in(db) == {id.key: struct.pack(">q", to_microseconds(until))}


def test_marks_outlive_a_restart(tmp_path, clock):
    """A mark is found by another store on the tree, and after the database was opened again."""
    id, path = Id.new(), tmp_path / "restarted"
    with SledStore.open(path, clock=clock) as store:
        other = SledStore(store.tree, clock=clock)
        assert other.was_rotated(id) is False
        store.mark_rotated(id, clock() + timedelta(seconds=60))
        assert other.was_rotated(id) is True
    with SledStore.open(path, clock=clock) as store:
        assert store.was_rotated(id) is True


@pytest.mark.parametrize("strategy", SweepStrategy)
def test_sweeps_remove_marks(tree, db, clock, strategy):
    """A sweep removes the marks that have ended, a dry run none."""
    store = SledStore(tree, strategy=strategy, clock=clock)
    early, late = Id.new(), Id.new()
    store.mark_rotated(early, clock() + timedelta(seconds=10))
    store.mark_rotated(late, clock() + timedelta(seconds=10.000001))
    clock.move(timedelta(seconds=10))
    store.delete_expired(dry_run=True)
    assert len(marks_in(db)) == 2
    store.delete_expired()
    assert list(marks_in(db)) == [late.key]


def test_memory_forgets_marks(clock):
    """A sweep of a MemoryStore removes the marks that have ended."""
    store = MemoryStore(clock=clock)
    for seconds in (10, 20):
        store.mark_rotated(Id.new(), clock() + timedelta(seconds=seconds))
    clock.move(timedelta(seconds=10))
    store.delete_expired(dry_run=True)
    assert len(store._rotated) == 2
    store.delete_expired()
    assert len(store._rotated) == 1


@pytest.mark.parametrize("pair", [(b"monday", b"1"), (bytes(16), struct.pack(">q", 7)), (bytes(16), b"")])
def test_tree_of_a_program(store, db, clock, caplog, pair):
    """A program's own tree of that name is left alone; ids are then not marked, and one warning says so."""
    foreign = db.open_tree("session:rotated")
    foreign.insert(*pair)
    for _ in range(2):
        id = Id.new()
        store.mark_rotated(id, clock() + timedelta(seconds=60))
        assert store.was_rotated(id) is False
    store.delete_expired(now=clock() + timedelta(days=365))
    assert dict(foreign) == dict([pair])
    assert caplog.text.count("not marked") == 1


class Markless:
    """A store with the six methods of the protocol alone."""

    def __init__(self, store):
        for name in ("create", "save", "load", "delete", "update", "delete_expired"):
            setattr(self, name, getattr(store, name))


@pytest.mark.parametrize(
    "wrap",
    [
        AsyncStore,
        lambda store: AsyncStore(observe(store, lambda call: None)),
        lambda store: AsyncStore(CachingStore(MemoryStore(), store)),
    ],
    ids=["async", "observed", "caching"],
)
def test_store_without_marks(clock, wrap):
    """On a store that keeps no marks, wrappers mark nothing and find nothing."""
    store, id = wrap(Markless(MemoryStore(clock=clock))), Id.new()
    run_inline(mark_rotated(store, id, clock() + timedelta(seconds=60)), store)
    assert run_inline(was_rotated(store, id), store) is False


def test_observed_marks(clock):
    """Marks are observed, and an id without one is reported as missing."""
    calls, id = [], Id.new()
    store = observe(MemoryStore(clock=clock), calls.append)
    store.was_rotated(id)
    store.mark_rotated(id, clock() + timedelta(seconds=60))
    assert store.was_rotated(id)
    found = [(call.operation, call.outcome) for call in calls]
    assert found == [("was_rotated", "missing"), ("mark_rotated", "ok"), ("was_rotated", "ok")]


def test_marks_of_two_trees(db, clock):
    """Each tree of sessions has its own marks."""
    id = Id.new()
    first, second = (SledStore(db.open_tree(name), clock=clock) for name in ("first", "second"))
    first.mark_rotated(id, clock() + timedelta(seconds=60))
    assert (first.was_rotated(id), second.was_rotated(id)) == (True, False)
