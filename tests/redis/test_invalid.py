"""Arguments and URLs that RedisStore refuses, bytes that are not records, and what errors must not show."""

import traceback

import attrs
import pytest
import redis
import redis.asyncio
from servers import Server
from sessions import increment, new_record, with_data

from sled_sessions import BackendError, DecodeError, EncodeError, RecordTooLarge
from sled_sessions.redis import RedisStore

pytestmark = pytest.mark.anyio


def test_unsuitable_clients():
    """The constructor refuses a blocking client and one that decodes responses, and says what to do instead."""
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
def test_unquoted_password(scheme, password):
    """The error for an unquoted password in a URL asks for quoting and shows no part of the password."""
    with pytest.raises(ValueError, match="quoted") as caught:
        RedisStore.from_url(f"{scheme}://:{password}@localhost:6379")
    assert "hunter" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("redis+cluster://localhost/3", "'db' must be 0"),
        ("redis+cluster://", "one node"),
        ("redis+cluster://localhost?nonsense=3", "nonsense"),
        ("redis://localhost?nonsense=3", "nonsense"),
        ("unix:///run/valkey.sock?nonsense=3", "nonsense"),
    ],
)
async def test_invalid_urls(url, message):
    """A database number for a Cluster, a missing host and an unknown option are reported as errors in the URL."""
    with pytest.raises(ValueError, match=message):
        RedisStore.from_url(url)


@pytest.mark.parametrize(
    ("options", "error"),
    [({"prefix": b"session:"}, TypeError), ({"concurrency": 0}, ValueError), ({"timeout": 5}, TypeError)],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_invalid_options(options, error):
    """A prefix that is not text, zero concurrency and a timeout without a unit are refused by name."""
    with pytest.raises(error, match=next(iter(options))):
        RedisStore.from_url("redis://localhost", **options)


async def test_the_callers_client_stays_open(server):
    """Closing the store leaves a client open that it did not create."""
    async with redis.asyncio.Redis(port=server.port) as client:
        async with RedisStore(client) as store:
            record = await store.create(new_record())
        assert await client.exists(f"session:{record.id}")


async def test_invalid_record(store):
    """Loading bytes that are not a valid record, or are another session's, raises; listing skips them."""
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


async def test_list_under_a_sessions_key(store):
    """A value that is not a string on the server counts as an invalid record, and save may overwrite it."""
    record = await store.create(new_record(n=1))
    seen = await store.load(record.id)
    await store.client.delete(f"session:{record.id}")
    await store.client.lpush(f"session:{record.id}", "item")
    for use in (
        store.load(record.id),
        store.update(record.id, increment),
        store.update(record.id, increment, seen=seen),
    ):
        with pytest.raises(DecodeError, match="not a valid session record"):
            await use
    assert [record async for record in store.records()] == []
    await store.save(record)
    assert await store.load(record.id) == record


async def test_refused_records_and_ids(store):
    """A record that is too large, a value that is not JSON and an id as text are refused; nothing is written."""
    record = await store.create(new_record(n=1))
    with pytest.raises(RecordTooLarge, match=r"65,\d\d\d bytes.*65,536"):
        await store.save(attrs.evolve(record, data={"text": "x" * 65_536}))
    with pytest.raises(EncodeError):
        await store.update(record.id, with_data({"n": {1}}))
    with pytest.raises(TypeError, match=r"Id\.parse"):
        await store.load(str(record.id))
    assert await store.load(record.id) == record


@pytest.mark.parametrize("prefix", ["session:", "x" * 110], ids=["whole", "truncated by the server"])
async def test_errors_show_no_id(prefix):
    """If the server repeats the command, or its beginning, in its answer, neither message nor traceback shows it."""
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
    """The store's repr shows its prefix and only the class of the client."""
    store = RedisStore.from_url(f"redis://user:hunter2@127.0.0.1:{server.port}")
    assert repr(store) == "RedisStore(Redis, prefix='session:')"
