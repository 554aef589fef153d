"""When a session is saved, and which changes are too late or dropped."""

import asyncio
from datetime import timedelta

import pytest
from web.apps import data_of
from web.messages import BODY, START, headers_of, new_session, run

from sled_sessions import (
    Expiry,
    SessionMiddleware,
)


def test_saved_before_the_first_byte(store, as_store, clock):
    """A change is in the store before the first byte of the response is sent."""

    async def app(scope, receive, send):
        scope["session"]["step"] = 1
        await send(START)
        await send(BODY)

    seen = []

    async def send(message):
        seen.append((message["type"], store.count()))

    middleware = SessionMiddleware(app, as_store(store), clock=clock)
    asyncio.run(middleware({"type": "http", "path": "/", "headers": []}, None, send))
    assert seen == [("http.response.start", 1), ("http.response.body", 1)]


def test_changes_after_the_start_are_saved(store, as_store, clock):
    """Changes by a streaming body or a background task are saved when the application returns."""
    cookie = new_session(store, clock, steps=[])

    async def app(scope, receive, send):
        steps = scope["session"]["steps"]
        steps.append("before")
        await send(START)
        steps.append("while streaming")
        await send(BODY)
        scope["session"]["after"] = True

    run(SessionMiddleware(app, as_store(store), clock=clock), cookie=cookie)
    assert data_of(store, cookie, clock) == {"steps": ["before", "while streaming"], "after": True}


def test_flush_after_the_start(store, as_store, clock):
    """A session flushed while the body streams is deleted."""
    cookie = new_session(store, clock, user="ada")

    async def app(scope, receive, send):
        await send(START)
        scope["session"].flush()
        await send(BODY)

    run(SessionMiddleware(app, as_store(store), clock=clock), cookie=cookie)
    assert store.count() == 0


def test_session_begun_too_late(store, as_store, clock, caplog):
    """A session begun after the response has started, too late for a cookie, is logged and not stored."""

    async def app(scope, receive, send):
        await send(START)
        scope["session"]["user"] = "ada"
        await send(BODY)

    run(SessionMiddleware(app, as_store(store), clock=clock))
    assert store.count() == 0
    assert "after the response had started: not saved" in caplog.text


def test_id_cycled_too_late(store, as_store, clock, caplog):
    """A session whose id is cycled after the response has started keeps its id, and the log says so."""
    cookie = new_session(store, clock, n=1)

    async def app(scope, receive, send):
        await send(START)
        scope["session"].cycle_id()

    run(SessionMiddleware(app, as_store(store), clock=clock), cookie=cookie)
    assert data_of(store, cookie, clock) == {"n": 1}
    assert "after the response had started: not saved" in caplog.text


@pytest.mark.parametrize(("status", "saved"), [(499, {"early": 1, "late": 1}), (500, {})])
def test_server_error_saves_nothing(store, as_store, clock, status, saved):
    """Changes before a 5xx or while its body streams are dropped; a 4xx is not a failure."""
    cookie = new_session(store, clock, n=1)

    async def app(scope, receive, send):
        scope["session"]["early"] = 1
        await send({**START, "status": status})
        scope["session"]["late"] = 1

    run(SessionMiddleware(app, as_store(store), clock=clock), cookie=cookie)
    assert data_of(store, cookie, clock) == {"n": 1, **saved}


def test_exception_while_streaming(store, as_store, clock):
    """An exception while the body streams drops the changes since the response started."""
    cookie = new_session(store, clock, n=0)

    async def app(scope, receive, send):
        scope["session"]["n"] = 1
        await send(START)
        scope["session"]["n"] = 2
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(SessionMiddleware(app, as_store(store), clock=clock), cookie=cookie)
    assert data_of(store, cookie, clock) == {"n": 1}


def test_no_response_saves_nothing(store, as_store, clock):
    """An application that returns without a response saves nothing."""

    async def app(scope, receive, send):
        scope["session"]["n"] = 1

    assert run(SessionMiddleware(app, as_store(store), clock=clock)) == []
    assert store.count() == 0


def test_policy_already_expired(store, as_store, clock):
    """A session with an expiry in the past is deleted, not saved."""
    cookie = new_session(store, clock, n=0)

    async def app(scope, receive, send):
        scope["session"].expiry = Expiry.at(clock() - timedelta(seconds=1))
        await send(START)

    (start,) = run(SessionMiddleware(app, as_store(store), clock=clock), cookie=cookie)
    assert headers_of(start)["set-cookie"].startswith("id=; ")
    assert store.count() == 0
