"""The URLs that `RedisStore.from_url` takes, and what it says when one does not fit the server."""

import asyncio
import socket
from datetime import timedelta

import pytest
from redis.asyncio.connection import SSLConnection
from servers import shared_cluster, shared_server
from sessions import new_record

from sled_sessions import BackendError
from sled_sessions.redis import RedisStore

pytestmark = pytest.mark.anyio

SHORT = timedelta(milliseconds=300)


def url_of(scheme, server):
    """The server's URL with this scheme."""
    return f"{scheme}://{server.url.partition('://')[2]}"


@pytest.mark.parametrize("scheme", ["redis", "valkey", "VALKEY", "redis+cluster", "valkey+cluster"])
@pytest.mark.parametrize(
    "query", ["", "?decode_responses=False", "?decode_responses=no&client_name=x", "?client_name=x&decode_responses=0"]
)
async def test_schemes(scheme, query):
    """`valkey` stands for `redis`, and `decode_responses` may be given as it must be."""
    server = shared_cluster() if "cluster" in scheme else shared_server()
    async with RedisStore.from_url(url_of(scheme, server) + query) as store:
        record = await store.create(new_record(n=1))
        assert await store.load(record.id) == record


@pytest.mark.parametrize("scheme", ["rediss", "valkeys"])
async def test_schemes_with_tls(scheme):
    """`valkeys` means TLS, as `rediss` does."""
    store = RedisStore.from_url(f"{scheme}://localhost")
    assert store.client.connection_pool.connection_class is SSLConnection
    cluster = RedisStore.from_url(f"{scheme}+cluster://localhost")
    assert cluster.client.connection_kwargs["connection_class"] is SSLConnection


@pytest.mark.parametrize("url", ["http://localhost", "localhost:6379", "redis:localhost", "unix+cluster:///run/valkey"])
def test_unknown_schemes(url):
    """The error for any other URL names the schemes, and does not repeat the URL."""
    with pytest.raises(ValueError, match=r"valkey://, with rediss:// or valkeys:// for TLS") as caught:
        RedisStore.from_url(url)
    assert url not in str(caught.value)


@pytest.mark.parametrize("value", ["True", "yes", "1", "on"])
def test_decoding_is_refused(value):
    """Responses that the client decodes are refused."""
    with pytest.raises(ValueError, match="decode_responses"):
        RedisStore.from_url(f"redis://localhost?decode_responses={value}")


@pytest.mark.parametrize("scheme", ["rediss", "valkeys", "rediss+cluster"])
async def test_tls_on_a_plain_port(scheme):
    """The error of a TLS address whose port has no TLS says so, on each call until the server has answered."""
    server = shared_cluster() if "cluster" in scheme else shared_server()
    record = new_record()
    async with RedisStore.from_url(url_of(scheme, server), timeout=SHORT) as store:
        for use in (store.load(record.id), store.save(record)):
            with pytest.raises(
                BackendError, match="if its port has no TLS, the URL must begin with redis:// or valkey:"
            ):
                await use


async def test_tls_on_the_port_of_another_program():
    """So does the error when something on the port answers in plain text."""

    async def answer(reader, writer):
        await reader.read(10)
        writer.write(b"-ERR unknown command\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        async with RedisStore.from_url(f"rediss://127.0.0.1:{port}", timeout=timedelta(seconds=30)) as store:
            with pytest.raises(BackendError, match=r"SSL.*if its port has no TLS"):
                await store.save(new_record())


async def test_a_plain_address_says_nothing_of_tls():
    """A server that hangs is not said to lack TLS if the address has none."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        async with RedisStore.from_url(f"redis://127.0.0.1:{listening.getsockname()[1]}", timeout=SHORT) as store:
            with pytest.raises(BackendError, match=r"^the server did not answer within 0\.3 s$"):
                await store.load(new_record().id)
