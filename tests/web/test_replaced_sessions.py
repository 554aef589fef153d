"""Applications that put something else at `scope["session"]`, and session middlewares inside one another."""

import enum
from collections import ChainMap
from types import MappingProxyType

import attrs
import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware as StarletteSessionMiddleware
from starlette.routing import Mount
from web.apps import browser, data_of
from web.messages import BODY, START, headers_of, new_session, run

from sled_sessions import (
    EncodeError,
    MemoryStore,
    SessionMiddleware,
)


def test_what_the_app_puts_in_its_place(store, as_store, clock):
    """An application that replaces the session, as Litestar's set_session does, has replaced its data."""
    cookie = new_session(store, clock, old=1)

    async def app(scope, receive, send):
        scope["session"] = {"new": 2}
        await send(START)

    run(SessionMiddleware(app, as_store(store), clock=clock), cookie=cookie)
    assert data_of(store, cookie, clock) == {"new": 2}


@attrs.frozen
class User:
    """What an application keeps in its session."""

    name: str


class Model:
    """What Pydantic's models look like."""

    def model_dump(self, *, mode):
        assert mode == "json"
        return {"name": "ada"}


@pytest.mark.parametrize("replacement", [User("ada"), Model()])
def test_an_object_that_the_app_puts_in_its_place(store, as_store, clock, replacement):
    """What has fields is a session's data, as for Litestar's set_session."""
    cookie = new_session(store, clock, old=1)

    async def app(scope, receive, send):
        scope["session"] = replacement
        await send(START)

    run(SessionMiddleware(app, as_store(store)), cookie=cookie)
    assert data_of(store, cookie, clock) == {"name": "ada"}


@pytest.mark.parametrize("replacement", [7, [1], object()])
def test_what_is_no_session_ends_none(store, as_store, clock, replacement):
    """What has no keys cannot replace a session: the request fails, and the session stays as it was."""
    cookie = new_session(store, clock, old=1)

    async def app(scope, receive, send):
        scope["session"] = replacement
        await send(START)

    with pytest.raises(EncodeError, match="mapping"):
        run(SessionMiddleware(app, as_store(store)), cookie=cookie)
    assert data_of(store, cookie, clock) == {"old": 1}


@pytest.mark.parametrize("wrap", [MappingProxyType, lambda session: ChainMap({}, session)])
def test_a_view_of_the_session_in_its_place(store, as_store, clock, wrap):
    """What reads the session itself may take its place, and changes nothing."""
    cookie = new_session(store, clock, n=1)

    async def app(scope, receive, send):
        scope["session"] = wrap(scope["session"])
        await send(START)

    run(SessionMiddleware(app, as_store(store), clock=clock), cookie=cookie)
    assert data_of(store, cookie, clock) == {"n": 1}


@pytest.mark.parametrize("status", [400, 503])
def test_an_answer_to_a_replacement_that_was_refused(store, as_store, clock, status):
    """Of a replacement that JSON cannot hold nothing is taken over, and the app may answer the error."""
    cookie = new_session(store, clock, n=1)

    async def app(scope, receive, send):
        session = scope["session"]
        scope["session"] = {"ok": 1, "wrong": object()}
        try:
            await send(START)
        except EncodeError:
            if status == 400:
                scope["session"] = session
            await send({**START, "status": status})

    (start,) = run(SessionMiddleware(app, as_store(store), clock=clock), cookie=cookie)
    assert start["status"] == status
    assert data_of(store, cookie, clock) == {"n": 1}


@pytest.mark.parametrize("fails", ["raises", "answers 503"])
def test_the_cookie_of_the_app_outside_of_a_mounted_one(store, clock, fails):
    """What a mounted app keeps on the server does not get into the cookie of Starlette's middleware around it."""
    cookie = new_session(store, clock, user="ada")

    async def app(scope, receive, send):
        scope["session"]["token"] = "s3cret"
        if fails == "raises":
            raise HTTPException(403)
        await send({**START, "status": 503})
        await send(BODY)

    outside = Starlette(
        routes=[Mount("/", SessionMiddleware(app, store, clock=clock))],
        middleware=[Middleware(StarletteSessionMiddleware, secret_key="key")],
    )
    response = browser(outside).get("/", headers={"cookie": f"id={cookie}"})
    assert response.status_code in (403, 503)
    assert "set-cookie" not in response.headers
    assert data_of(store, cookie, clock) == {"user": "ada"}


def test_the_session_outside_of_a_mounted_app_that_fails(store, as_store, clock):
    """An app inside that fails leaves nothing of its session in that of the app around it, which answers."""
    cookie = new_session(store, clock, user="ada")

    async def inside(scope, receive, send):
        scope["session"] = {"token": "s3cret"}
        raise ZeroDivisionError

    async def app(scope, receive, send):
        try:
            await SessionMiddleware(inside, MemoryStore(), name="admin")(scope, receive, send)
        except ZeroDivisionError:
            scope["session"]["failed"] = True
            await send({**START, "status": 400})

    run(SessionMiddleware(app, as_store(store), clock=clock), cookie=cookie)
    assert data_of(store, cookie, clock) == {"user": "ada", "failed": True}


@pytest.mark.parametrize("inner", [StarletteSessionMiddleware, None], ids=["starlette", "ours"])
def test_the_session_of_a_mounted_app_is_its_own(store, as_store, clock, inner):
    """An app inside with a session middleware of its own, on the same scope, changes nothing in the session outside."""
    cookie = new_session(store, clock, user="ada")

    async def app(scope, receive, send):
        scope["session"]["token"] = "s3cret"
        await send(START)

    mounted = SessionMiddleware(app, MemoryStore(), name="admin") if inner is None else inner(app, "key")
    (start,) = run(SessionMiddleware(mounted, as_store(store)), cookie=cookie)
    assert data_of(store, cookie, clock) == {"user": "ada"}
    assert [name for name, value in start["headers"] if name == b"set-cookie" and value.startswith(b"id=")] == []


@pytest.mark.parametrize("nothing", [None, {}, type("Empty", (), {}), enum.Enum("Empty", "EMPTY").EMPTY])
def test_what_the_app_takes_away(store, as_store, clock, nothing):
    """An application that puts nothing in the session's place, as Litestar's clear_session does, has ended it."""
    cookie = new_session(store, clock, old=1)

    async def app(scope, receive, send):
        scope["session"] = nothing
        await send(START)

    (start,) = run(SessionMiddleware(app, as_store(store), clock=clock), cookie=cookie)
    assert headers_of(start)["set-cookie"].startswith("id=; ")
    assert store.count() == 0
