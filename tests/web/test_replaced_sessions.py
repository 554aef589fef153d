"""Applications that replace `scope["session"]`, and session middlewares inside one another."""

import enum
from collections import ChainMap
from types import MappingProxyType

import attrs
import pydantic
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


def test_replaced_with_a_dict(store, as_store, clock):
    """A dict put in the session's place, as by Litestar's set_session, replaces its data."""
    cookie = new_session(store, clock, old=1)

    async def app(scope, receive, send):
        scope["session"] = {"new": 2}
        await send(START)

    run(SessionMiddleware(app, as_store(store), clock=clock), cookie=cookie)
    assert data_of(store, cookie, clock) == {"new": 2}


@attrs.frozen
class User:
    """Data that an application keeps in its session."""

    name: str


class Model(pydantic.BaseModel):
    """The same with Pydantic."""

    name: str


@pytest.mark.parametrize("replacement", [User("ada"), Model(name="ada")])
def test_replaced_with_an_object(store, as_store, clock, replacement):
    """The fields of an object put in the session's place, as by Litestar's set_session, replace its data."""
    cookie = new_session(store, clock, old=1)

    async def app(scope, receive, send):
        scope["session"] = replacement
        await send(START)

    run(SessionMiddleware(app, as_store(store)), cookie=cookie)
    assert data_of(store, cookie, clock) == {"name": "ada"}


@pytest.mark.parametrize("replacement", [7, [1], object()])
def test_replaced_with_something_without_keys(store, as_store, clock, replacement):
    """A replacement without keys fails the request and leaves the session unchanged."""
    cookie = new_session(store, clock, old=1)

    async def app(scope, receive, send):
        scope["session"] = replacement
        await send(START)

    with pytest.raises(EncodeError, match="mapping"):
        run(SessionMiddleware(app, as_store(store)), cookie=cookie)
    assert data_of(store, cookie, clock) == {"old": 1}


@pytest.mark.parametrize("wrap", [MappingProxyType, lambda session: ChainMap({}, session)])
def test_replaced_with_a_view(store, as_store, clock, wrap):
    """A view that reads from the session itself changes nothing."""
    cookie = new_session(store, clock, n=1)

    async def app(scope, receive, send):
        scope["session"] = wrap(scope["session"])
        await send(START)

    run(SessionMiddleware(app, as_store(store), clock=clock), cookie=cookie)
    assert data_of(store, cookie, clock) == {"n": 1}


@pytest.mark.parametrize("status", [400, 503])
def test_response_after_a_refused_replacement(store, as_store, clock, status):
    """A replacement that is not JSON changes nothing, and the app may respond to the error."""
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
def test_mounted_app_does_not_leak_into_starlettes_cookie(store, clock, fails):
    """Data of a mounted app's session never gets into the cookie of Starlette's middleware around it."""
    cookie = new_session(store, clock, user="ada")

    async def app(scope, receive, send):
        scope["session"]["token"] = "s3cret"
        if fails == "raises":
            raise HTTPException(403)
        await send({**START, "status": 503, "headers": []})
        await send(BODY)

    outside = Starlette(
        routes=[Mount("/", SessionMiddleware(app, store, clock=clock))],
        middleware=[Middleware(StarletteSessionMiddleware, secret_key="key")],
    )
    response = browser(outside).get("/", headers={"cookie": f"id={cookie}"})
    assert response.status_code in (403, 503)
    assert "set-cookie" not in response.headers
    assert data_of(store, cookie, clock) == {"user": "ada"}


def test_failed_mounted_app_leaves_the_outer_session(store, as_store, clock):
    """A mounted app that fails leaves none of its data in the session of the app around it."""
    cookie = new_session(store, clock, user="ada")

    async def inside(scope, receive, send):
        scope["session"] = {"token": "s3cret"}
        raise ZeroDivisionError

    async def app(scope, receive, send):
        try:
            await SessionMiddleware(inside, MemoryStore(), name="admin")(scope, receive, send)
        except ZeroDivisionError:
            scope["session"]["failed"] = True
            await send({**START, "status": 400, "headers": []})

    run(SessionMiddleware(app, as_store(store), clock=clock), cookie=cookie)
    assert data_of(store, cookie, clock) == {"user": "ada", "failed": True}


@pytest.mark.parametrize("inner", [StarletteSessionMiddleware, None], ids=["starlette", "ours"])
def test_mounted_app_has_its_own_session(store, as_store, clock, inner):
    """A mounted app with its own session middleware, on the same scope, does not change the outer session."""
    cookie = new_session(store, clock, user="ada")

    async def app(scope, receive, send):
        scope["session"]["token"] = "s3cret"
        await send(dict(START))  # Starlette changes the message

    mounted = SessionMiddleware(app, MemoryStore(), name="admin") if inner is None else inner(app, "key")
    (start,) = run(SessionMiddleware(mounted, as_store(store)), cookie=cookie)
    assert data_of(store, cookie, clock) == {"user": "ada"}
    assert [name for name, value in start["headers"] if name == b"set-cookie" and value.startswith(b"id=")] == []


@pytest.mark.parametrize("nothing", [None, {}, type("Empty", (), {}), enum.Enum("Empty", "EMPTY").EMPTY])
def test_replaced_with_nothing(store, as_store, clock, nothing):
    """An empty replacement, as by Litestar's clear_session, ends the session."""
    cookie = new_session(store, clock, old=1)

    async def app(scope, receive, send):
        scope["session"] = nothing
        await send(START)

    (start,) = run(SessionMiddleware(app, as_store(store), clock=clock), cookie=cookie)
    assert headers_of(start)["set-cookie"].startswith("id=; ")
    assert store.count() == 0
