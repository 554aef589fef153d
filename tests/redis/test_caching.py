"""AsyncCachingStore(SledStore, RedisStore): local reads, shared truth, and how old a read may be."""

import asyncio
from datetime import timedelta

import attrs
import pytest
from sessions import increment, new_record

from sled_sessions import AsyncCachingStore, AsyncStore, BackendError, MemoryStore, SledStore
from sled_sessions.redis import RedisStore

pytestmark = pytest.mark.anyio

MAX_AGE = timedelta(seconds=0.3)


async def until_old():
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


async def test_a_log_out_elsewhere_is_seen_in_time(machine_a, machine_b):
    """What one machine deletes or changes, another that has it in its cache shows for `max_age`, and no longer."""
    ended, changed = [await machine_a.create(new_record(n=1)) for _ in range(2)]
    assert [await machine_b.load(record.id) for record in (ended, changed)] == [ended, changed]
    await machine_a.delete(ended.id)
    await machine_a.update(changed.id, increment)
    assert await machine_a.load(ended.id) is None
    await until_old()
    assert await machine_b.load(ended.id) is None
    assert (await machine_b.load(changed.id)).data == {"n": 2}


async def test_an_update_of_what_is_old_here(machine_a, machine_b):
    """An update works on the shared session, however old the one in the cache is, and finds out that one has ended."""
    record = await machine_a.create(new_record(n=1))
    await machine_b.update(record.id, increment)
    assert (await machine_a.update(record.id, increment)).data == {"n": 3}
    await machine_b.delete(record.id)
    assert await machine_a.update(record.id, increment) is None
    assert await machine_a.load(record.id) is None


async def test_what_an_earlier_run_left_in_the_cache(local, shared, machine_b):
    """A session that lies in the cache from before the program was started is shown only if it is still shared."""
    kept, ended = [await AsyncCachingStore(local, shared).create(new_record(n=1)) for _ in range(2)]
    await machine_b.delete(ended.id)
    assert local.load(ended.id) == ended
    restarted = AsyncCachingStore(local, shared)
    assert await restarted.load(ended.id) is None
    assert await restarted.load(kept.id) == kept
    assert local.load(ended.id) is None


async def test_the_server_is_asked_once(machine_a, shared, server, commands):
    """Of many loads of one session, at once and within `max_age`, the server is asked one."""
    store = AsyncCachingStore(machine_a.cache, shared, max_age=timedelta(minutes=1))
    record = new_record(n=1)
    await shared.save(record)
    with commands() as seen:
        assert await asyncio.gather(*(store.load(record.id) for _ in range(20))) == [record] * 20
        assert await store.load(record.id) == record
    assert seen == ["GET"]


async def test_while_the_server_is_away(own_server, local):
    """Without the server a session is shown for `max_age`, then loading fails; failed writes are not shown."""
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


async def test_only_recent_sessions_are_remembered(machine_a):
    """What the store keeps in mind is bounded by the sessions of the last `max_age`, whatever the cache holds."""
    for _ in range(50):
        await machine_a.create(new_record())
    await until_old()
    await machine_a.create(new_record())
    assert machine_a.cache.count() == 51
    assert len(machine_a._pair._fetched) == 1


async def test_a_sweep_of_both(machine_a, local):
    """A sweep cleans the cache, within the limit, and says whether it came to the end."""
    for _ in range(5):
        local.save(new_record(-1))
    report = await machine_a.delete_expired(limit=3)
    assert (report.deleted, report.complete, local.count()) == (0, False, 2)
    assert (await machine_a.delete_expired()).complete
    assert local.count() == 0
