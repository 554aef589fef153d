"""RedisStore on several event loops: made at module level, its first request on each new loop works."""

import asyncio
import contextlib
import gc
import threading
import warnings

import pytest
import redis.asyncio
from redis.asyncio.cluster import RedisCluster
from servers import BINARIES, shared_cluster, shared_server
from sessions import increment, new_record
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from waiting import wait_until

from sled_sessions import AsyncCachingStore, MemoryStore, SessionMiddleware
from sled_sessions.redis import RedisStore


@pytest.fixture(params=[*BINARIES, "cluster", "client", "client of a cluster"])
def store(request) -> RedisStore:
    """A store that was made before any event loop ran."""
    if "cluster" in request.param:
        server = shared_cluster()
        server.flush()
        if request.param == "cluster":
            return RedisStore.from_url(server.url)
        return RedisStore(RedisCluster("127.0.0.1", server.nodes[0].port))
    server = shared_server(BINARIES.get(request.param, BINARIES["valkey"]))
    server.flush()
    if request.param == "client":
        return RedisStore(redis.asyncio.Redis(port=server.port))
    return RedisStore.from_url(server.url)


@pytest.fixture
def server():
    server = shared_server()
    server.flush()
    return server


@contextlib.contextmanager
def no_warnings():
    """Unclosed connections and transports would be reported when they are collected."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
        gc.collect()


async def use(store, record):
    """Thirty updates at once, which wait for each other and for connections."""
    await asyncio.gather(*(store.update(record.id, increment) for _ in range(30)))
    return (await store.load(record.id)).data["n"]


@pytest.mark.parametrize("closes", [False, True], ids=["left open", "closed"])
def test_one_loop_after_the_other(store, closes):
    """A store works on each new loop, whether or not it was closed on the last one, which leaves nothing open."""

    async def main():
        async with store if closes else contextlib.nullcontext():
            return await use(store, record)

    record = new_record(n=0)
    with no_warnings():
        asyncio.run(store.save(record))
        assert [asyncio.run(main()) for _ in range(3)] == [30, 60, 90]


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning", "ignore:loop is closed:ResourceWarning")
def test_a_loop_that_is_closed_by_force(server):
    """A store works after a loop that was closed without the steps that `asyncio.run` takes."""
    store, record = RedisStore.from_url(server.url), new_record(n=0)
    asyncio.run(store.save(record))
    for count in (30, 60):
        loop = asyncio.new_event_loop()
        assert loop.run_until_complete(use(store, record)) == count
        loop.close()
    del store, loop
    gc.collect()  # while the warnings about unclosed connections are ignored


def test_loops_at_the_same_time(server):
    """Loops of several threads use a store at once, each with connections of its own."""
    store, record = RedisStore.from_url(server.url), new_record(n=0)
    asyncio.run(store.save(record))
    barrier = threading.Barrier(4)

    async def main():
        await store.load(record.id)
        await asyncio.to_thread(barrier.wait, 30)
        await use(store, record)

    threads = [threading.Thread(target=asyncio.run, args=(main(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert asyncio.run(store.load(record.id)).data == {"n": 120}


def test_the_end_of_a_loop_closes_its_connections(server):
    """When a loop ends, the server sees its connections close; the callers' client is not closed for good."""
    with server.client() as admin:
        client = redis.asyncio.Redis(port=server.port, client_name="theirs")
        for store in (RedisStore.from_url(f"{server.url}?client_name=ours"), RedisStore(client)):
            for _ in range(2):
                asyncio.run(store.load(new_record().id))
                wait_until(lambda: not {"ours", "theirs"} & {each["name"] for each in admin.client_list()})


@pytest.mark.parametrize("cached", [False, True], ids=["alone", "behind a cache"])
def test_an_app_that_starts_twice(server, cached):
    """An app with a store at module level can be started by one TestClient after the other."""
    from starlette.testclient import TestClient

    async def count(request):
        request.session["n"] = request.session.get("n", 0) + 1
        return PlainTextResponse(str(request.session["n"]))

    store = RedisStore.from_url(server.url)
    app = Starlette(routes=[Route("/", count)])
    app.add_middleware(
        SessionMiddleware, store=AsyncCachingStore(MemoryStore(), store) if cached else store, secure=False
    )
    headers = {}
    for expected in (["1", "2"], ["3", "4"]):
        with TestClient(app, headers=headers) as visitor:
            assert [visitor.get("/").text for _ in range(2)] == expected
            headers = {"cookie": f"id={visitor.cookies['id']}"}
