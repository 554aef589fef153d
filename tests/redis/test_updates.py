"""Updates of one session by several stores, as several processes make them."""

import asyncio
import time
from datetime import timedelta

import attrs
import pytest
from sessions import increment, new_record, with_data

from sled_sessions import BackendError
from sled_sessions.redis import RedisStore

pytestmark = pytest.mark.anyio


@pytest.fixture
async def pair(served):
    """Two stores on one server, as in two processes."""
    async with RedisStore.from_url(served.url) as one, RedisStore.from_url(served.url) as other:
        yield one, other


async def test_update_applies_to_the_stored_record(pair):
    """An update of a loaded session starts from what another process has stored since."""
    one, other = pair
    record = await one.create(new_record(n=1))
    await one.load(record.id)
    await other.save(attrs.evolve(record, data={"n": 5}))
    assert (await one.update(record.id, increment)).data == {"n": 6}
    assert (await other.load(record.id)).data == {"n": 6}


async def test_update_does_not_restore_a_deleted_session(pair):
    """An update of a loaded session that another process has deleted since leaves it deleted."""
    one, other = pair
    record = await one.create(new_record(n=1))
    await one.load(record.id)
    await other.delete(record.id)
    assert await one.update(record.id, with_data({"n": 2})) is None
    assert await other.load(record.id) is None


async def test_error_on_a_stale_record_is_retried(pair):
    """An exception of the change function is raised only if the record it got is still the stored one."""
    one, other = pair
    record = await one.create(new_record(stock=0))
    await one.load(record.id)
    await other.save(attrs.evolve(record, data={"stock": 1}))

    def take(now):
        assert now.data["stock"] > 0, "sold out"
        return attrs.evolve(now, data={"stock": now.data["stock"] - 1})

    assert (await one.update(record.id, take)).data == {"stock": 0}
    with pytest.raises(AssertionError, match="sold out"):
        await one.update(record.id, take)


async def test_expiry_extended_by_another_process(served):
    """A session that has expired as this store knows it, but was extended by another process, is updated."""
    record = new_record()
    now = record.expiry_date - timedelta(seconds=1)
    async with RedisStore.from_url(served.url, clock=lambda: now) as one, RedisStore.from_url(served.url) as other:
        await one.save(record)
        await other.save(attrs.evolve(record, expiry_date=record.expiry_date + timedelta(hours=1)))
        now += timedelta(seconds=2)
        assert (await one.update(record.id, with_data({"n": 2}))).data == {"n": 2}


async def test_no_update_is_lost_under_contention(pair):
    """None of 400 updates by 80 tasks on two clients is lost."""
    record = await pair[0].create(new_record(n=0))

    async def work(store):
        for _ in range(5):
            await store.update(record.id, increment)

    await asyncio.gather(*(work(store) for store in pair * 40))
    assert (await pair[1].load(record.id)).data == {"n": 400}


@pytest.mark.parametrize("deadline", ["during a pause", "during a call"])
async def test_update_that_always_loses(server, single, deadline):
    """An update that always loses to another writer raises a BackendError that says so, and writes nothing."""
    record = await single.create(new_record(n=0))
    losses = 0
    async with RedisStore.from_url(server.url, timeout=timedelta(seconds=1)) as store:
        with server.client() as other:

            def change(now):
                nonlocal losses
                losses += 1
                if deadline == "during a call" and losses == 3:
                    time.sleep(1)
                theirs = attrs.evolve(record, data={"theirs": losses})
                other.set(f"session:{record.id}", theirs.encode(), keepttl=True)
                return attrs.evolve(record, data={"mine": True})

            with pytest.raises(BackendError, match=r"not done within 1 s: other writers .* first \(\d+ times\)"):
                await store.update(record.id, change)
    assert (await single.load(record.id)).data == {"theirs": losses}
