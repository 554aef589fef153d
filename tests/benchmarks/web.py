"""A counter request of a returning visitor, called as ASGI without a server."""

import asyncio
import importlib.util
import json
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from typing import Any, TypeAlias

import attrs

from benchmarks import calls
from benchmarks.database import Database
from benchmarks.result import Line
from sled_sessions import Record, SessionMiddleware
from sled_sessions.comparison.measuring import Side, Spread, take_turns

Message: TypeAlias = MutableMapping[str, Any]
App: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]

BATCH = 500
"""Requests in one run, each from a different visitor."""

_START = {"type": "http.response.start", "status": 200}
_BODY = {"type": "http.response.body", "body": b"counted"}
_SECRET = "0" * 32
_ALSO_NEEDED = {"starlette": ("itsdangerous",)}


@attrs.frozen
class Visit:
    """A request with a session cookie.

    Attributes:
        number: The session's number in the workload.
        scope: The request's ASGI scope.
    """

    number: int
    scope: dict[str, Any]

    @classmethod
    def of(cls, number: int, cookie: str) -> "Visit":
        """A request with this cookie."""
        headers = [(b"host", b"example.org"), (b"accept", b"*/*"), (b"cookie", cookie.encode())]
        return cls(number, {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": headers})


async def counting(scope: Any, receive: Any, send: Any) -> None:
    """Increment a counter in the session."""
    session = scope["session"]
    session["counter"] = session.get("counter", 0) + 1
    await _answer(send)


async def loading_and_counting(scope: Any, receive: Any, send: Any) -> None:
    """The same for starsessions, where the app loads the session."""
    await scope["session_handler"].load()
    await counting(scope, receive, send)


async def ignoring(scope: Any, receive: Any, send: Any) -> None:
    """Answer without using the session."""
    await _answer(send)


async def _answer(send: Any) -> None:
    await send({**_START, "headers": [(b"content-type", b"text/plain")]})
    await send(_BODY)


async def receive() -> Message:
    """An empty request body."""
    return {"type": "http.request"}


async def discard(message: Message) -> None:
    """Drop the response, so that no client's time is measured."""


async def serve(app: App, visits: Iterable[Visit], send: Callable[[Message], Awaitable[None]] = discard) -> None:
    """Let the app answer the requests one after the other."""
    for visit in visits:
        await app(visit.scope, receive, send)


def missing(*packages: str) -> str | None:
    """The first of these packages, or of their dependencies here, that is not installed."""
    needed = [name for package in packages for name in (package, *_ALSO_NEEDED.get(package, ()))]
    return next((name for name in needed if importlib.util.find_spec(name) is None), None)


def sides(database: Database, loop: asyncio.AbstractEventLoop) -> dict[str, Side]:
    """The middlewares to compare, by name."""
    workload, store = database.workload, database.store

    def side(app: App, prepare: Callable[[int], list[Visit]], restore: Any = None) -> Side:
        return Side(lambda visits: loop.run_until_complete(serve(app, visits)), prepare, restore, None)

    def stored(turn: int) -> list[Visit]:
        visits = []
        for number in workload.random_numbers(BATCH):
            id = workload.id(number)
            store.save(Record(id, {"counter": turn}, workload.expiry(number)))
            visits.append(Visit.of(number, f"id={id}"))
        return visits

    def put_back(visits: list[Visit]) -> None:
        for visit in visits:
            store.save(workload.record(visit.number))

    app = SessionMiddleware(counting, store)

    def just_served(turn: int) -> list[Visit]:
        visits = stored(turn)
        loop.run_until_complete(serve(app, visits))
        return visits

    found = {
        "same index step": side(app, just_served, put_back),
        "other index step": side(app, stored, put_back),
        "ours, ignoring": side(SessionMiddleware(ignoring, store), stored, put_back),
        "no session": side(ignoring, stored, put_back),
    }
    if missing("starlette") is None:
        import itsdangerous
        from starlette.middleware.sessions import SessionMiddleware as CookieMiddleware

        signer = itsdangerous.TimestampSigner(_SECRET)

        def signed(turn: int) -> list[Visit]:
            value = signer.sign(b64encode(json.dumps({"counter": turn}).encode())).decode()
            return [Visit.of(number, f"session={value}") for number in range(BATCH)]

        found["starlette"] = side(CookieMiddleware(counting, _SECRET), signed)
    if missing("starsessions") is None:
        import starsessions

        memory = starsessions.InMemoryStore()
        written = starsessions.JsonSerializer().serialize({"counter": 0})

        async def remember(ids: Iterable[str]) -> None:
            for id in ids:
                await memory.write(id, written, lifetime=3600, ttl=3600)

        def remembered(turn: int) -> list[Visit]:
            ids = {number: bytes(workload.id(number)).hex() for number in workload.random_numbers(BATCH)}
            loop.run_until_complete(remember(ids.values()))
            return [Visit.of(number, f"session={id}") for number, id in ids.items()]

        found["starsessions"] = side(
            starsessions.SessionMiddleware(loading_and_counting, memory, lifetime=3600, rolling=True), remembered
        )
    return found


def call_lines() -> Iterator[Line]:
    """The Python calls of the package in one request, and the files that they are in."""
    found = calls.count()
    for name, number in {
        "Python calls": found.calls,
        "files called": found.files,
        "switches between files": found.switches,
    }.items():
        yield Line(f"request, {name}", 0, Spread.of([number]), unit="")


def lines(database: Database, repeat: int) -> Iterator[Line | str]:
    """The request beside other middlewares, and the cost of a request that leaves its session alone.

    Every request moves its session's expiry. Within a second it stays in the same step of the index, which saves two
    writes; for a visitor who returns later it moves to another step.
    """
    loop = asyncio.new_event_loop()
    try:
        times = take_turns(sides(database, loop), repeat)
    finally:
        loop.close()
    sessions = database.workload.sessions
    for side, against, other_is in (
        ("starlette", "Starlette's cookie", "Starlette's SessionMiddleware: all data in the cookie"),
        ("starsessions", "starsessions in memory", "starsessions with its InMemoryStore"),
    ):
        if side not in times:
            yield f"{missing(side)} is not installed: requests are not compared with {side}"
            continue
        for step in ("same index step", "other index step"):
            yield Line.compare(f"request, {step}, against {against}", sessions, times[step], times[side], other_is)
    added = [ours - bare for ours, bare in zip(times["ours, ignoring"], times["no session"], strict=True)]
    yield Line(
        "request that leaves the session alone",
        sessions,
        Spread.of(added),
        other_is="added to an app without sessions",
    )
