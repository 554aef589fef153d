"""AsyncCachingStore: tasks, a failing cache, and `max_age`."""

import asyncio
from datetime import timedelta
from types import SimpleNamespace

import pytest
from stores.caches import USES, BlockingCalls, Gated

from sled_sessions import AsyncCachingStore, AsyncStore, BackendError, MemoryStore
from sled_sessions.stores import caching


def test_cache_that_cannot_be_used(clock, backing, new_record):
    """With a cache that fails in every call the store works without it, and `load` returns nothing outdated."""

    class Broken(MemoryStore):
        def save(self, record):
            raise BackendError("the cache's disk is full")

        def delete(self, id):
            raise BackendError("the cache's disk is full")

        def load(self, id):
            raise BackendError("the cache's disk cannot be read")

    store = AsyncCachingStore(Broken(clock=clock), AsyncStore(backing))
    record = new_record(n=1)

    async def use():
        assert await store.load(record.id) is None
        await store.save(record)
        assert await store.load(record.id) == record
        assert await store.delete(record.id)
        assert await store.update(record.id, lambda now: now) is None

    asyncio.run(use())


@pytest.mark.parametrize("use", USES)
def test_one_task_at_a_time(cache, backing, new_record, use):
    """A task that writes a session, or loads it from the store, waits while another task writes it."""

    async def take_turns():
        gated, record = Gated(backing), new_record()
        store = AsyncCachingStore(cache, AsyncStore(gated, in_thread=True))
        writing = asyncio.create_task(store.delete(record.id))
        await asyncio.to_thread(gated.wait_for_call)
        waiting = asyncio.create_task(USES[use](store, record))
        await asyncio.sleep(0.05)
        assert gated.calls == ["delete"]
        gated.gate.set()
        await asyncio.gather(writing, waiting)
        assert gated.calls == ["delete", use]

    asyncio.run(take_turns())


def test_max_age(clock, cache, new_record, monkeypatch):
    """A cached session is returned for `max_age`, counted from before its load, and then loaded again."""
    now = 0.0
    monkeypatch.setattr(caching, "time", SimpleNamespace(monotonic=lambda: now))
    loads = []

    class Slow(MemoryStore):
        def load(self, id):
            nonlocal now
            loads.append(now)
            now += 1
            return super().load(id)

    backing, record = Slow(clock=clock), new_record()
    backing.save(record)
    store = BlockingCalls(cache, backing, max_age=timedelta(seconds=2))
    for moment in (0.0, 1.9, 2.0):
        now = moment
        assert store.load(record.id) == record
    assert loads == [0, 2]


def test_max_age_must_be_a_timedelta(cache, backing):
    """A number as `max_age` is refused."""
    with pytest.raises(TypeError, match="max_age must be a timedelta, not int"):
        AsyncCachingStore(cache, AsyncStore(backing), max_age=1)
