"""Stores in a child that was forked while another thread was writing."""

import os

import pytest
from engine.processes import in_fork
from stores.holding import held_up

from sled_sessions import CachingStore, MemoryStore, SledStore

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")


def test_a_store_in_memory(clock, new_record):
    """A child goes on with its copy of a store in memory."""
    store = MemoryStore(clock=clock)
    record, other = store.create(new_record()), new_record()
    with held_up(lambda wait: store.update(record.id, wait)):
        assert in_fork(lambda: (store.save(other), store.count())) == "(None, 2)"


def test_a_caching_store(clock, new_record):
    """So it does with a cache in front of one."""
    store = CachingStore(MemoryStore(clock=clock), MemoryStore(clock=clock))
    record = store.create(new_record())
    with held_up(lambda wait: store.update(record.id, wait)):
        assert in_fork(lambda: (store.save(record), store.delete(record.id))) == "(None, True)"


def test_a_store_on_sled(db, clock, new_record):
    """Every write to a store on sled fails in a child at once, as the engine's calls do."""
    tree, record = db.open_tree("session"), new_record()
    store = SledStore(tree, clock=clock)

    def outcomes():
        for call in (store.save, store.create, lambda record: store.delete(record.id), lambda record: SledStore(tree)):
            try:
                call(record)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is to be told
                yield type(error.__cause__ or error).__name__

    with held_up(lambda wait: store.rebuild_index(progress=wait)):
        assert in_fork(lambda: set(outcomes())) == "{'ForkedProcess'}"
