"""AsyncStore: a blocking store behind the asynchronous contract."""

import asyncio
import threading

import attrs
import pytest
from sessions import increment

from sled_sessions import AsyncSessionStore, AsyncStore, MemoryStore


@pytest.mark.parametrize("in_thread", [False, True])
def test_has_the_contract(clock, new_record, in_thread):
    """Every method does what the blocking store's does, inline and in a thread."""
    store = AsyncStore(MemoryStore(clock=clock), in_thread=in_thread)
    assert isinstance(store, AsyncSessionStore)

    async def use():
        record = await store.create(new_record(n=1))
        assert await store.load(record.id) == record
        await store.save(attrs.evolve(record, data={"n": 2}))
        updated = await store.update(record.id, increment)
        assert updated.data == {"n": 3}
        await store.save(new_record(-1))
        assert (await store.delete_expired(limit=5)).deleted == 1
        assert await store.delete(record.id)
        assert await store.load(record.id) is None

    asyncio.run(use())


@pytest.mark.parametrize("in_thread", [False, True])
def test_where_calls_run(clock, new_record, in_thread):
    """Calls run on the event loop's thread by default, and off it with `in_thread`."""
    seen = []

    class Observed(MemoryStore):
        def save(self, record):
            seen.append(threading.current_thread())

    asyncio.run(AsyncStore(Observed(clock=clock), in_thread=in_thread).save(new_record()))
    assert (seen[0] is threading.main_thread()) is not in_thread
