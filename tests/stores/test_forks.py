"""Stores in a child forked while another thread was writing."""

import os

import pytest
from engine.processes import in_fork
from stores.holding import held_up

from sled_sessions import CachingStore, MemoryStore, SledStore

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")


def test_memory_store_works_in_child(clock, new_record):
    """A MemoryStore keeps working in the child, on a copy of its records."""
    store = MemoryStore(clock=clock)
    record, other = store.create(new_record()), new_record()
    with held_up(lambda wait: store.update(record.id, wait)):
        assert in_fork(lambda: (store.save(other), store.count())) == "(None, 2)"


def test_caching_store_works_in_child(clock, new_record):
    """A CachingStore of two MemoryStores keeps working in the child."""
    store = CachingStore(MemoryStore(clock=clock), MemoryStore(clock=clock))
    record = store.create(new_record())
    with held_up(lambda wait: store.update(record.id, wait)):
        assert in_fork(lambda: (store.save(record), store.delete(record.id))) == "(None, True)"


def test_sled_store_raises_in_child(db, clock, new_record):
    """Every write to a SledStore raises ForkedProcess in the child and does not hang."""
    tree, record = db.open_tree("session"), new_record()
    store = SledStore(tree, clock=clock)

    def outcomes():
        for call in (store.save, store.create, lambda record: store.delete(record.id), lambda record: SledStore(tree)):
            try:
                call(record)
            except Exception as error:  # noqa: BLE001 - the test compares the type
                yield type(error.__cause__ or error).__name__

    with held_up(lambda wait: store.rebuild_index(progress=wait)):
        assert in_fork(lambda: set(outcomes())) == "{'ForkedProcess'}"
