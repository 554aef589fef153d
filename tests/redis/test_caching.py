"""AsyncCachingStore(SledStore, RedisStore): local reads of shared sessions, at most `max_age` old."""

import asyncio
from datetime import timedelta

import attrs
import pytest
from sessions import increment, new_record

from sled_sessions import AsyncCachingStore, AsyncStore, BackendError, MemoryStore, SledStore
from sled_sessions.redis import RedisStore

pytestmark = pytest.mark.anyio

MAX_AGE = timedelta(seconds=0.3)


async def until_stale():
    await asyncio.sleep(MAX_AGE.total_seconds())


@pytest.fixture
async def shared(server):
    async with RedisStore.from_url(server.url) as store:
        yield store


@pytest.fixture
def local(tmp_path):
    with SledStore.open(tmp_path / "A") as store:
        yield store


@pytest.fixture
async def machine_a(local, shared):
    return AsyncCachingStore(local, shared, max_age=MAX_AGE)


@pytest.fixture
async def machine_b(tmp_path, server):
    async with RedisStore.from_url(server.url) as shared:
        with SledStore.open(tmp_path / "B") as local:
            yield AsyncCachingStore(local, shared, max_age=MAX_AGE)


async def test_either_store_may_be_blocking(shared):
    """An AsyncCachingStore takes asyncio stores and blocking ones, in either place."""
    blocking, asynchronous = MemoryStore(), AsyncStore(MemoryStore())
    for stores in ((blocking, shared), (asynchronous, blocking), (asynchronous, shared)):
        record = await AsyncCachingStore(*stores).create(new_record(n=1))
        for store in stores:
            found = store.load(record.id)
            assert (await found if asyncio.iscoroutine(found) else found) == record


async def test_changes_elsewhere_show_after_max_age(machine_a, machine_b):
    """A machine with a session in its cache sees deletions and changes by another machine after `max_age`."""
    ended, changed = [await machine_a.create(new_record(n=1)) for _ in range(2)]
    assert [await machine_b.load(record.id) for record in (ended, changed)] == [ended, changed]
    await machine_a.delete(ended.id)
    await machine_a.update(changed.id, increment)
    assert await machine_a.load(ended.id) is None
    await until_stale()
    assert await machine_b.load(ended.id) is None
    assert (await machine_b.load(changed.id)).data == {"n": 2}


async def test_update_of_a_stale_session(machine_a, machine_b):
    """An update applies to the shared session, however stale the cached one is, and notices that one has ended."""
    record = await machine_a.create(new_record(n=1))
    await machine_b.update(record.id, increment)
    assert (await machine_a.update(record.id, increment)).data == {"n": 3}
    await machine_b.delete(record.id)
    assert await machine_a.update(record.id, increment) is None
    assert await machine_a.load(record.id) is None


async def test_cache_of_an_earlier_run(local, shared, machine_b):
    """A session cached by an earlier run of the program is returned only if the shared store still has it."""
    kept, ended = [await AsyncCachingStore(local, shared).create(new_record(n=1)) for _ in range(2)]
    await machine_b.delete(ended.id)
    assert local.load(ended.id) == ended
    restarted = AsyncCachingStore(local, shared)
    assert await restarted.load(ended.id) is None
    assert await restarted.load(kept.id) == kept
    assert local.load(ended.id) is None


async def test_loads_share_one_round_trip(machine_a, shared, server, commands):
    """Many loads of one session, at once or within `max_age`, send one command to the server."""
    store = AsyncCachingStore(machine_a.cache, shared, max_age=timedelta(minutes=1))
    record = new_record(n=1)
    await shared.save(record)
    with commands() as seen:
        assert await asyncio.gather(*(store.load(record.id) for _ in range(20))) == [record] * 20
        assert await store.load(record.id) == record
    assert seen == ["GET"]


async def test_server_down(own_server, local):
    """While the server is down a cached session loads for `max_age` and then raises; failed writes are not returned."""
    async with RedisStore.from_url(own_server.url, timeout=timedelta(seconds=0.3)) as shared:
        store = AsyncCachingStore(local, shared, max_age=timedelta(seconds=2))
        read, written = [await store.create(new_record(n=1)) for _ in range(2)]
        own_server.kill()
        assert await store.load(read.id) == read
        with pytest.raises(BackendError):
            await store.save(attrs.evolve(written, data={"n": 2}))
        with pytest.raises(BackendError):
            await store.load(written.id)
        await asyncio.sleep(2)
        with pytest.raises(BackendError):
            await store.load(read.id)
        own_server.start()
        assert await store.load(read.id) == read


async def test_memory_is_bounded_by_recent_sessions(machine_a):
    """The store remembers only the sessions of the last `max_age`, however many the cache holds."""
    for _ in range(50):
        await machine_a.create(new_record())
    await until_stale()
    await machine_a.create(new_record())
    assert machine_a.cache.count() == 51
    assert len(machine_a._pair._fetched) == 1


async def test_sweep_cleans_the_cache(machine_a, local):
    """A sweep removes expired sessions from the cache, up to the limit, and reports whether it completed."""
    for _ in range(5):
        local.save(new_record(-1))
    report = await machine_a.delete_expired(limit=3)
    assert (report.deleted, report.complete, local.count()) == (0, False, 2)
    assert (await machine_a.delete_expired()).complete
    assert local.count() == 0
