"""A server whose replies are not those of Redis, and what its errors show."""

import asyncio
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta

import pytest
from frame_locals import ID, SECRET, leaks

from sled_sessions import BackendError, Record
from sled_sessions.redis import RedisStore

pytestmark = pytest.mark.anyio

RECORD = Record(ID, {"card": SECRET}, datetime(2099, 1, 1, tzinfo=UTC))
SEEN = Record(ID, {"card": SECRET}, datetime(2099, 1, 1, tzinfo=UTC), version=RECORD.encode())

REPLIES = {
    "integer": b":5\r\n",
    "array": b"*1\r\n:5\r\n",
    "nil": b"$-1\r\n",
    "text": b"+FINE\r\n",
    "bytes": b"$3\r\nabc\r\n",
    "error": b"-ERR unknown\r\n",
    "no protocol": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "end": None,
    "silence": b"",
}


@asynccontextmanager
async def replying(reply):
    """A store on a server that gives this reply to everything but a connection's first commands."""
    writers = []

    async def serve(reader, writer):
        writers.append(writer)
        with suppress(ConnectionError):
            while received := await reader.read(65_536):
                is_greeting = b"CLIENT" in received.upper()
                if not is_greeting and reply is None:
                    break
                writer.write(b"+OK\r\n" * received.upper().count(b"CLIENT") if is_greeting else reply)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0?protocol=2"
    try:
        async with RedisStore.from_url(url, timeout=timedelta(seconds=0.2)) as store:
            yield store
    finally:
        for writer in writers:
            writer.close()
        server.close()
        await server.wait_closed()


CALLS = {
    "load": (lambda store: store.load(ID), {"nil", "text", "bytes"}),
    "save": (lambda store: store.save(RECORD), set()),
    "create": (lambda store: store.create(RECORD), {"nil"}),
    "delete": (lambda store: store.delete(ID), {"integer"}),
    "update": (lambda store: store.update(ID, lambda record: record, seen=SEEN), {"nil"}),
    "count": (lambda store: store.count(), set()),
}
"""Calls, and the replies that are right for them, or may be."""


@pytest.mark.parametrize("reply", REPLIES)
@pytest.mark.parametrize("name", CALLS)
async def test_replies_of_another_kind(name, reply):
    """A reply that a command cannot have is a BackendError, whose frames show no id and no data."""
    call, right = CALLS[name]
    if reply in right:
        pytest.skip("not an odd reply")
    async with replying(REPLIES[reply]) as store:
        with pytest.raises(BackendError) as caught:
            await call(store)
    assert leaks(caught.value) == []
