"""RedisStore beyond the contract: keys, bytes, expiry and the number of round trips."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import attrs
import pytest
import redis
import redis.asyncio
from servers import BINARIES, shared_server
from sessions import increment, new_record, with_data

from sled_sessions import SweepStrategy
from sled_sessions.records import codec
from sled_sessions.redis import RedisStore

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("prefix", ["session:", "", "sité*[x]:", "{tag}"])
async def test_key_value_and_expiry_on_the_server(served, prefix):
    """The key is prefix and id, the value is the record's bytes, the server's expiry is the record's, rounded up."""
    async with RedisStore.from_url(served.url, prefix=prefix) as store:
        record = await store.create(new_record(user="ada"))
        key = f"{prefix}{record.id}"
        assert await store.client.get(key) == record.encode()
        expiry = codec.to_microseconds(record.expiry_date)
        assert await store.client.pttl(key) > 590_000
        with suppress(redis.ResponseError):  # Redis 6.2 has no PEXPIRETIME
            assert await store.client.pexpiretime(key) == -(-expiry // 1000)
        assert await store.load(record.id) == record
        assert await store.count() == 1


@pytest.mark.parametrize("prefix", ["session:", "", "sité*[x]:"])
async def test_mark_on_the_server(served, prefix):
    """A mark has a key beside the sessions', which no list of sessions has and which the server removes."""
    async with RedisStore.from_url(served.url, prefix=prefix) as store:
        id = new_record().id
        await store.mark_rotated(id, datetime.now(UTC) + timedelta(seconds=60))
        assert 50_000 < await store.client.pttl(f"{prefix}rotated:{id}") <= 60_001
        assert await store.was_rotated(id)
        assert await store.count() == 0
        assert [record async for record in store.records()] == []
        assert [pair async for pair in store.pairs()] == []
        await store.mark_rotated(id, datetime.now(UTC) - timedelta(seconds=1))
        assert not await store.was_rotated(id)
        await store.client.rpush(f"{prefix}rotated:{id}", "of another program")
        assert not await store.was_rotated(id)


async def test_server_deletes_expired_sessions(store):
    """The server removes an expired session without a sweep."""
    await store.save(new_record(0.2))
    for _ in range(500):
        if await store.count() == 0:
            return
        await asyncio.sleep(0.02)
    pytest.fail("the server kept an expired session")


@pytest.mark.parametrize(
    "moment",
    [datetime(1, 1, 1, tzinfo=UTC), datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC)],
)
async def test_expiry_in_the_past(store, moment):
    """A session updated, saved or created with an expiry in the past, however early, is gone at once."""
    record = await store.create(new_record(n=1))
    ended = await store.update(record.id, lambda now: attrs.evolve(now, expiry_date=moment))
    assert ended.expiry_date == moment
    assert await store.load(record.id) is None
    await store.save(attrs.evolve(record, expiry_date=moment))
    await store.create(attrs.evolve(record, expiry_date=moment))
    assert await store.load(record.id) is None
    assert await store.count() == 0


async def test_latest_possible_expiry(store):
    """The server accepts an expiry at the end of Python's calendar."""
    record = await store.create(attrs.evolve(new_record(), expiry_date=datetime.max.replace(tzinfo=UTC)))
    assert await store.load(record.id) == record


async def test_expiry_to_the_microsecond(served):
    """By the store's clock a session expires exactly at its expiry, whatever the server's clock says."""
    record = new_record()
    now = record.expiry_date
    async with RedisStore.from_url(served.url, clock=lambda: now) as store:
        await store.save(record)
        assert await store.load(record.id) is None
        assert await store.update(record.id, lambda record: pytest.fail("called")) is None
        now -= timedelta(microseconds=1)
        assert await store.load(record.id) == record


async def test_prefixes_separate_stores(served):
    """Stores with different prefixes see neither each other's sessions nor keys that are not sessions."""
    async with RedisStore.from_url(served.url, prefix="a:") as one, RedisStore.from_url(served.url, prefix="?:") as two:
        await one.client.set("a:note", "x", px=60_000)
        await two.client.set("?:" + "!" * 22, "x", px=60_000)
        record = await one.create(new_record())
        assert [each async for each in one.records()] == [record]
        assert await two.count() == 0
        assert await two.load(record.id) is None


async def test_client_with_another_encoding(server):
    """Every client finds sessions under a non-ASCII prefix: keys are UTF-8, whatever the client's encoding."""
    async with redis.asyncio.Redis(port=server.port, encoding="latin-1") as client:
        store = RedisStore(client, prefix="sité:")
        record = await store.create(new_record())
        assert await store.count() == 1
        async with RedisStore.from_url(server.url, prefix="sité:") as other:
            assert await other.load(record.id) == record


async def test_counting_and_listing_cover_all_masters(store):
    """Counting and listing read every page of every master and return each session once."""
    records = [new_record(n=n) for n in range(2500)]
    for start in range(0, len(records), 50):
        await asyncio.gather(*(store.create(record) for record in records[start : start + 50]))
    assert await store.count() == 2500
    found = [record async for record in store.records()]
    assert sorted(found, key=lambda record: record.id) == sorted(records, key=lambda record: record.id)


async def test_delete_expired_does_nothing(store):
    """delete_expired does nothing and reports so: no strategy, nothing examined, nothing deleted."""
    await store.create(new_record())
    for strategy in (None, *SweepStrategy):
        report = await store.delete_expired(strategy, on_expired=lambda record: pytest.fail("called"))
        assert (report.strategy, report.examined, report.deleted, report.complete) == (None, 0, 0, True)
    assert await store.count() == 1


async def test_round_trips(single, server, commands):
    """load, create, save, delete, and an update of a loaded record each send one command."""
    await single.client.ping()
    with commands() as seen:
        record = await single.create(new_record(n=1))
    assert seen == ["SET"]
    with commands() as seen:
        await single.save(record)
    assert seen == ["SET"]
    with commands() as seen:
        loaded = await single.load(record.id)
    assert seen == ["GET"]
    with commands() as seen:
        await single.update(record.id, with_data({"n": 2}), seen=loaded)
    assert seen == ["SET"]
    with commands() as seen:
        await single.delete(record.id)
    assert seen == ["DEL"]


async def test_round_trips_of_an_update_that_reads_first(single, server, commands):
    """An update reads first if it was given no record, and reads again if another writer came first."""
    record = await single.create(new_record(n=1))
    loaded = await single.load(record.id)
    with commands() as seen:
        await single.update(record.id, with_data({"n": 2}))
    assert seen == ["GET", "SET"]
    with commands() as seen:
        assert (await single.update(record.id, increment, seen=loaded)).data == {"n": 3}
    assert seen == ["SET", "GET", "SET"]


@pytest.mark.skipif("redis" not in BINARIES, reason="needs Debian's Redis, before 8.4: apt-get install redis-server")
async def test_server_without_ifeq():
    """IFEQ is tried once on a server that lacks it; after that a script does the same in one round trip."""
    with shared_server(BINARIES["redis"]).client() as admin:
        admin.config_resetstat()
        async with RedisStore.from_url(shared_server(BINARIES["redis"]).url) as store:
            record = await store.create(new_record(n=1))
            for n in (2, 3):
                loaded = await store.load(record.id)
                assert (await store.update(record.id, increment, seen=loaded)).data == {"n": n}
        calls = {name: admin.info("commandstats")[f"cmdstat_{name}"]["calls"] for name in ("set", "eval")}
    assert calls == {"set": 1 + 1 + 2, "eval": 2}  # SETs: the create, the refused attempt, and one by each script


async def test_calls_wait_for_a_connection(served):
    """More simultaneous calls than the client may have connections wait their turn; none fails."""
    async with RedisStore.from_url(f"{served.url}?max_connections=2") as store:
        record = await store.create(new_record(n=1))
        assert await asyncio.gather(*(store.load(record.id) for _ in range(50))) == [record] * 50
