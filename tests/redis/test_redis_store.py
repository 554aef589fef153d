"""RedisStore beyond the contract: its keys and bytes, what it asks the server, and what it says to a mistake."""

import asyncio
import time
import traceback
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import attrs
import pytest
import redis
import redis.asyncio
from servers import BINARIES, Server, shared_server
from sessions import increment, new_record

from sled_sessions import BackendError, DecodeError, EncodeError, RecordTooLarge, SweepStrategy
from sled_sessions.records import codec
from sled_sessions.redis import RedisStore
from sled_sessions.stores.protocol import BasedOn

pytestmark = pytest.mark.anyio


def with_data(data):
    return lambda record: attrs.evolve(record, data=data)


@pytest.fixture
async def pair(served):
    """Two stores on one server, as two processes have them."""
    async with RedisStore.from_url(served.url) as one, RedisStore.from_url(served.url) as other:
        yield one, other


@pytest.fixture
async def single(server):
    async with RedisStore.from_url(server.url) as store:
        yield store


# -- keys, bytes, expiry ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["session:", "", "sité*[x]:", "{tag}"])
async def test_a_record_lies_under_its_id(served, prefix):
    """The key is prefix and id, the value the record's bytes, and the server's expiry the record's, rounded up."""
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


async def test_the_server_deletes_what_expires(store):
    """An expired session leaves the server with no sweep."""
    await store.save(new_record(0.2))
    for _ in range(500):
        if await store.count() == 0:
            return
        await asyncio.sleep(0.02)
    pytest.fail("it stayed")


@pytest.mark.parametrize(
    "moment",
    [datetime(1, 1, 1, tzinfo=UTC), datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC)],
)
async def test_saved_as_expired(store, moment):
    """A session whose expiry is moved into the past, as far as it may be, is gone at once; so is one created there."""
    record = await store.create(new_record(n=1))
    ended = await store.update(record.id, lambda now: attrs.evolve(now, expiry_date=moment))
    assert ended.expiry_date == moment
    assert await store.load(record.id) is None
    await store.save(attrs.evolve(record, expiry_date=moment))
    await store.create(attrs.evolve(record, expiry_date=moment))
    assert await store.load(record.id) is None
    assert await store.count() == 0


async def test_the_last_moment_there_is(store):
    """An expiry at the end of Python's calendar is one that the server takes."""
    record = await store.create(attrs.evolve(new_record(), expiry_date=datetime.max.replace(tzinfo=UTC)))
    assert await store.load(record.id) == record


async def test_expiry_to_the_microsecond(served):
    """By the store's clock a session is live until its expiry and not from it on, whatever the server's clock says."""
    record = new_record()
    now = record.expiry_date
    async with RedisStore.from_url(served.url, clock=lambda: now) as store:
        await store.save(record)
        assert await store.load(record.id) is None
        assert await store.update(record.id, lambda record: pytest.fail("called")) is None
        now -= timedelta(microseconds=1)
        assert await store.load(record.id) == record


async def test_stores_with_different_prefixes(served):
    """Stores with different prefixes do not see each other's sessions, nor keys that are no sessions."""
    async with RedisStore.from_url(served.url, prefix="a:") as one, RedisStore.from_url(served.url, prefix="?:") as two:
        await one.client.set("a:note", "x", px=60_000)
        await two.client.set("?:" + "!" * 22, "x", px=60_000)
        record = await one.create(new_record())
        assert [each async for each in one.records()] == [record]
        assert await two.count() == 0
        assert await two.load(record.id) is None


async def test_a_client_of_another_encoding(server):
    """Sessions under a prefix outside ASCII are found by every client: keys are UTF-8, whatever it writes text in."""
    async with redis.asyncio.Redis(port=server.port, encoding="latin-1") as client:
        store = RedisStore(client, prefix="sité:")
        record = await store.create(new_record())
        assert await store.count() == 1
        async with RedisStore.from_url(server.url, prefix="sité:") as other:
            assert await other.load(record.id) == record


async def test_all_records_of_all_masters(store):
    """Counting and listing go over every page of every master, and list each session once."""
    records = [new_record(n=n) for n in range(2500)]
    for start in range(0, len(records), 50):
        await asyncio.gather(*(store.create(record) for record in records[start : start + 50]))
    assert await store.count() == 2500
    found = [record async for record in store.records()]
    assert sorted(found, key=lambda record: record.id) == sorted(records, key=lambda record: record.id)


async def test_nothing_to_sweep(store):
    """delete_expired does nothing and reports that: no strategy, nothing looked at, nothing deleted."""
    await store.create(new_record())
    for strategy in (None, *SweepStrategy):
        report = await store.delete_expired(strategy, on_expired=lambda record: pytest.fail("called"))
        assert (report.strategy, report.examined, report.deleted, report.complete) == (None, 0, 0, True)
    assert await store.count() == 1


# -- round trips ------------------------------------------------------------------------------------------------------


async def test_round_trips(single, server, commands):
    """A load is one command; a create, a save, a delete, and an update of what was loaded, are one command each."""
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
        await single.update(record.id, BasedOn(loaded, with_data({"n": 2})))
    assert seen == ["SET"]
    with commands() as seen:
        await single.delete(record.id)
    assert seen == ["DEL"]


async def test_round_trips_of_an_update_out_of_the_blue(single, server, commands):
    """An update that brings no record along reads it first; so does one that another writer overtook."""
    record = await single.create(new_record(n=1))
    loaded = await single.load(record.id)
    with commands() as seen:
        await single.update(record.id, with_data({"n": 2}))
    assert seen == ["GET", "SET"]
    with commands() as seen:
        assert (await single.update(record.id, BasedOn(loaded, increment))).data == {"n": 3}
    assert seen == ["SET", "GET", "SET"]


@pytest.mark.skipif("redis" not in BINARIES, reason="needs Debian's Redis, of before 8.4: apt-get install redis-server")
async def test_a_server_that_cannot_compare():
    """A server whose SET has no IFEQ is asked once whether it has; then a script does the same, in one round trip."""
    with shared_server(BINARIES["redis"]).client() as admin:
        admin.config_resetstat()
        async with RedisStore.from_url(shared_server(BINARIES["redis"]).url) as store:
            record = await store.create(new_record(n=1))
            for n in (2, 3):
                loaded = await store.load(record.id)
                assert (await store.update(record.id, BasedOn(loaded, increment))).data == {"n": n}
        asked = {name: admin.info("commandstats")[f"cmdstat_{name}"]["calls"] for name in ("set", "eval")}
    assert asked == {"set": 1 + 1 + 2, "eval": 2}  # the create, the refused one, and those that two scripts made


# -- updates ----------------------------------------------------------------------------------------------------------


async def test_an_update_works_on_what_is_there(pair):
    """A session that was loaded, and that another process then changed, is updated from its present state."""
    one, other = pair
    record = await one.create(new_record(n=1))
    await one.load(record.id)
    await other.save(attrs.evolve(record, data={"n": 5}))
    assert (await one.update(record.id, increment)).data == {"n": 6}
    assert (await other.load(record.id)).data == {"n": 6}


async def test_an_update_does_not_bring_back_what_another_deleted(pair):
    """A session that was loaded, and that another process then deleted, stays deleted."""
    one, other = pair
    record = await one.create(new_record(n=1))
    await one.load(record.id)
    await other.delete(record.id)
    assert await one.update(record.id, with_data({"n": 2})) is None
    assert await other.load(record.id) is None


async def test_an_error_over_an_old_state_is_not_raised(pair):
    """What the function raises counts only when it was raised over the session as it is."""
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


async def test_an_expiry_that_another_moved(served):
    """A session that this task saw expire, and that another process prolonged, is updated."""
    record = new_record()
    now = record.expiry_date - timedelta(seconds=1)
    async with RedisStore.from_url(served.url, clock=lambda: now) as one, RedisStore.from_url(served.url) as other:
        await one.save(record)
        await other.save(attrs.evolve(record, expiry_date=record.expiry_date + timedelta(hours=1)))
        now += timedelta(seconds=2)
        assert (await one.update(record.id, with_data({"n": 2}))).data == {"n": 2}


async def test_updates_under_contention(pair):
    """Of 400 updates by 80 tasks on two clients none is lost."""
    record = await pair[0].create(new_record(n=0))

    async def work(store):
        for _ in range(5):
            await store.update(record.id, increment)

    await asyncio.gather(*(work(store) for store in pair * 40))
    assert (await pair[1].load(record.id)).data == {"n": 400}


@pytest.mark.parametrize("late", ["while it waits", "while the server is asked"])
async def test_others_always_come_first(server, single, late):
    """An update that loses every time gives up with BackendError, says why, and has written nothing."""
    record = await single.create(new_record(n=0))
    losses = 0
    async with RedisStore.from_url(server.url, timeout=timedelta(seconds=1)) as store:
        with server.client() as other:

            def change(now):
                nonlocal losses
                losses += 1
                if late == "while the server is asked" and losses == 3:
                    time.sleep(1)
                theirs = attrs.evolve(record, data={"theirs": losses})
                other.set(f"session:{record.id}", theirs.encode(), keepttl=True)
                return attrs.evolve(record, data={"mine": True})

            with pytest.raises(BackendError, match=r"not done within 1 s: other writers .* came first \(\d+ times\)"):
                await store.update(record.id, change)
    assert (await single.load(record.id)).data == {"theirs": losses}


async def test_more_calls_than_connections(served):
    """Of more calls at once than the client may have connections, none fails: they wait their turn."""
    async with RedisStore.from_url(f"{served.url}?max_connections=2") as store:
        record = await store.create(new_record(n=1))
        assert await asyncio.gather(*(store.load(record.id) for _ in range(50))) == [record] * 50


# -- mistakes ---------------------------------------------------------------------------------------------------------


def test_clients_that_cannot_do():
    """A blocking client, and one that decodes, are refused when the store is made, with the way out."""
    with pytest.raises(TypeError, match=r"redis\.asyncio.*, not redis\.client\.Redis"):
        RedisStore(redis.Redis())
    with pytest.raises(ValueError, match="decode_responses"):
        RedisStore(redis.asyncio.Redis(decode_responses=True))
    with pytest.raises(ValueError, match="URL"):
        RedisStore.from_url("http://localhost")


@pytest.mark.parametrize("scheme", ["redis", "rediss+cluster"])
@pytest.mark.parametrize(
    "password", ["hunter#2", "hunter/2", "hunter?2", "hunter\N{ACCOUNT OF}2", "12#hunter", "12/hunter", "12?hunter"]
)
def test_a_password_that_is_not_quoted(scheme, password):
    """A password that has to be quoted in a URL is said to be so, and no part of it is shown."""
    with pytest.raises(ValueError, match="quoted") as caught:
        RedisStore.from_url(f"{scheme}://:{password}@localhost:6379")
    assert "hunter" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis+cluster://localhost/3", "'db' must be 0"),
        ("redis+cluster://", "one node"),
        ("redis+cluster://localhost?nonsense=3", "nonsense"),
        ("redis://localhost?nonsense=3", "nonsense"),
        ("unix:///run/valkey.sock?nonsense=3", "nonsense"),
    ],
)
async def test_mistakes_in_a_url(url, words):
    """A number of a database, a missing host, and an unknown option are mistakes in the URL, and told as such."""
    with pytest.raises(ValueError, match=words):
        RedisStore.from_url(url)


@pytest.mark.parametrize(
    ("options", "error"),
    [({"prefix": b"session:"}, TypeError), ({"concurrency": 0}, ValueError), ({"timeout": 5}, TypeError)],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_options_that_cannot_be(options, error):
    """A prefix that is no text, no call at a time, and a time without a unit are refused by their names."""
    with pytest.raises(error, match=next(iter(options))):
        RedisStore.from_url("redis://localhost", **options)


async def test_a_client_of_ones_own_stays_open(server):
    """Closing the store closes only a client that it made itself."""
    async with redis.asyncio.Redis(port=server.port) as client:
        async with RedisStore(client) as store:
            record = await store.create(new_record())
        assert await client.exists(f"session:{record.id}")


async def test_bytes_that_are_no_record(store):
    """What is no record, or another session's, is an error for who loads it and skipped by who lists."""
    mine, other = new_record(), new_record(secret=1)
    await store.client.set(f"session:{mine.id}", other.encode())
    with pytest.raises(DecodeError, match="another"):
        await store.load(mine.id)
    await store.client.set(f"session:{mine.id}", b"garbage")
    for use in (store.load(mine.id), store.update(mine.id, lambda now: now)):
        with pytest.raises(DecodeError, match="not a valid session record"):
            await use
    await store.save(other)
    assert [record async for record in store.records()] == [other]
    assert await store.count() == 2


async def test_a_list_under_a_sessions_key(store):
    """What is no string on the server is treated as bytes that are no record, and may be saved over."""
    record = await store.create(new_record(n=1))
    seen = await store.load(record.id)
    await store.client.delete(f"session:{record.id}")
    await store.client.lpush(f"session:{record.id}", "item")
    for use in (
        store.load(record.id),
        store.update(record.id, increment),
        store.update(record.id, BasedOn(seen, increment)),
    ):
        with pytest.raises(DecodeError, match="not a valid session record"):
            await use
    assert [record async for record in store.records()] == []
    await store.save(record)
    assert await store.load(record.id) == record


async def test_what_cannot_be_stored(store):
    """A record too large, a value that JSON has not, and an id that is text are refused, and nothing is written."""
    record = await store.create(new_record(n=1))
    with pytest.raises(RecordTooLarge, match=r"65,\d\d\d bytes.*65,536"):
        await store.save(attrs.evolve(record, data={"text": "x" * 65_536}))
    with pytest.raises(EncodeError):
        await store.update(record.id, with_data({"n": {1}}))
    with pytest.raises(TypeError, match=r"Id\.parse"):
        await store.load(str(record.id))
    assert await store.load(record.id) == record


@pytest.mark.parametrize("prefix", ["session:", "x" * 110], ids=["whole", "cut by the server"])
async def test_no_id_in_an_error(prefix):
    """An answer in which the server repeats the command, or its beginning, reaches neither message nor traceback."""
    server = Server("--rename-command", "EVAL", "", "--rename-command", "SET", "")
    record = new_record(password="hunter2")
    try:
        async with RedisStore.from_url(server.url, prefix=prefix) as store:
            await store.client.execute_command("SETEX", f"{prefix}{record.id}", 600, record.encode())
            for use in (store.save(record), store.create(record), store.update(record.id, lambda now: now)):
                with pytest.raises(BackendError) as caught:
                    await use
                shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
                assert str(record.id)[:8] not in shown
                assert "hunter2" not in shown
                assert "ResponseError" in shown
    finally:
        server.close()


async def test_repr_shows_no_password(server):
    """The repr of a store has its prefix, and of the client only the kind."""
    store = RedisStore.from_url(f"redis://user:hunter2@127.0.0.1:{server.port}")
    assert repr(store) == "RedisStore(Redis, prefix='session:')"
