"""One web request, called as ASGI without a server: a visitor comes back, is counted, and gets the cookie again."""

import asyncio
import importlib.util
import json
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from typing import Any, TypeAlias

import attrs

from sled_sessions import Record, SessionMiddleware
from sled_sessions.bench.database import Database
from sled_sessions.bench.measuring import Side, Spread, take_turns
from sled_sessions.bench.result import Line

Message: TypeAlias = MutableMapping[str, Any]
App: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]

BATCH = 500
"""Requests in a run, each of another visitor."""

_START = {"type": "http.response.start", "status": 200}
_BODY = {"type": "http.response.body", "body": b"counted"}
_SECRET = "0" * 32
_ALSO_NEEDED = {"starlette": ("itsdangerous",)}


@attrs.frozen
class Visit:
    """A request with a cookie, and the session it stands for.

    Attributes:
        number: The session's number in the workload.
        scope: The request.
    """

    number: int
    scope: dict[str, Any]

    @classmethod
    def of(cls, number: int, cookie: str) -> "Visit":
        """A request that carries this cookie."""
        headers = [(b"host", b"example.org"), (b"accept", b"*/*"), (b"cookie", cookie.encode())]
        return cls(number, {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": headers})


async def counting(scope: Any, receive: Any, send: Any) -> None:
    """Count in the session."""
    session = scope["session"]
    session["counter"] = session.get("counter", 0) + 1
    await _answer(send)


async def loading_and_counting(scope: Any, receive: Any, send: Any) -> None:
    """The same for starsessions, which does not load on its own."""
    await scope["session_handler"].load()
    await counting(scope, receive, send)


async def ignoring(scope: Any, receive: Any, send: Any) -> None:
    """Leave the session alone."""
    await _answer(send)


async def _answer(send: Any) -> None:
    await send({**_START, "headers": [(b"content-type", b"text/plain")]})
    await send(_BODY)


async def receive() -> Message:
    """An empty request body."""
    return {"type": "http.request"}


async def discard(message: Message) -> None:
    """Take the response, as fast as nobody."""


async def serve(app: App, visits: Iterable[Visit], send: Callable[[Message], Awaitable[None]] = discard) -> None:
    """Have the app answer, one request after the other."""
    for visit in visits:
        await app(visit.scope, receive, send)


def missing(*packages: str) -> str | None:
    """The first of these packages, or of what they need here, that is not installed."""
    needed = [name for package in packages for name in (package, *_ALSO_NEEDED.get(package, ()))]
    return next((name for name in needed if importlib.util.find_spec(name) is None), None)


def sides(database: Database, loop: asyncio.AbstractEventLoop) -> dict[str, Side]:
    """Those that are compared: by name."""
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
            ids = {number: workload.key(number).hex() for number in workload.random_numbers(BATCH)}
            loop.run_until_complete(remember(ids.values()))
            return [Visit.of(number, f"session={id}") for number, id in ids.items()]

        found["starsessions"] = side(
            starsessions.SessionMiddleware(loading_and_counting, memory, lifetime=3600, rolling=True), remembered
        )
    return found


def lines(database: Database, repeat: int) -> Iterator[Line | str]:
    """The request beside the other middlewares, and what one costs that leaves its session alone.

    A request moves its session's expiry on. To the same step of the index within a second, which spares two writes;
    to another one for a visitor who comes back later.
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
            yield f"{missing(side)} is not installed: no comparison of requests with {side}"
            continue
        for step in ("same index step", "other index step"):
            yield Line.compare(f"request, {step}, against {against}", sessions, times[step], times[side], other_is)
    added = [ours - bare for ours, bare in zip(times["ours, ignoring"], times["no session"], strict=True)]
    yield Line(
        "request that leaves the session alone", sessions, Spread.of(added), other_is="added to the app without any"
    )
