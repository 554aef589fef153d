"""What the middleware does message by message, on a bare ASGI application."""

import asyncio
import subprocess
import sys

import pytest
from web.apps import asgi, browser, cookie_value, data_of
from web.messages import START, ignoring, new_session, run

from sled_sessions import (
    MemoryStore,
    SessionMiddleware,
)
from sled_sessions.web.sealing import Signed


@pytest.mark.parametrize(
    ("options", "cookie"),
    [
        ({}, "A" * 22),
        ({"signed_key": b"k" * 64}, Signed(b"k" * 64).seal("A" * 22)),
        ({"always_save": True}, None),
    ],
)
def test_no_store_call_for_an_untouched_session(clock, options, cookie):
    """A request that leaves its session alone makes no store call, whatever cookie it comes with."""

    class Silent(MemoryStore):
        def load(self, id):
            raise AssertionError("loaded")

    start, _ = run(SessionMiddleware(ignoring, Silent(clock=clock), clock=clock, **options), cookie=cookie)
    assert start is START


def test_one_load_however_often_it_is_used(clock):
    """However often a request uses its session, it is loaded once."""
    loads = []

    class Counting(MemoryStore):
        def load(self, id):
            loads.append(id)
            return super().load(id)

    store = Counting(clock=clock)
    cookie = new_session(store, clock, n=1)
    loads.clear()

    async def app(scope, receive, send):
        for _ in range(3):
            assert scope["session"]["n"] == 1
        await send(START)

    run(SessionMiddleware(app, store, clock=clock), cookie=cookie)
    assert len(loads) == 1


def test_no_framework_is_needed():
    """The middleware comes without a web framework, a server or cryptography."""
    imported = "{'starlette', 'litestar', 'quart', 'uvicorn', 'click', 'cryptography'} & set(sys.modules)"
    code = f"import sys; from sled_sessions import SessionMiddleware; print({imported})"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"


@pytest.mark.parametrize("kind", ["lifespan", "webtransport"])
def test_other_protocols_pass(store, kind):
    """What is neither a request nor a WebSocket goes through untouched."""
    scopes = []

    async def app(scope, receive, send):
        scopes.append(scope)

    asyncio.run(SessionMiddleware(app, store)({"type": kind}, None, None))
    assert scopes == [{"type": kind}]


def test_fixation(store, clock):
    """An id that an attacker made up, kept from a session that ended, or holds himself, never becomes the victim's."""
    mallory = new_session(store, clock, user="mallory")
    made_up, ended = "AAAAAAAAAAAAAAAAAAAAAA", new_session(store, clock, user="x")

    def login(session):
        session.cycle_id()
        session["user"] = "victim"
        return "welcome"

    def logout(session):
        session.flush()
        return "bye"

    client = browser(asgi({"/login": login, "/logout": logout}, store, clock=clock))
    client.get("/logout", headers={"cookie": f"id={ended}"})
    for planted in (made_up, ended, mallory):
        client.cookies.clear()
        new = cookie_value(client.get("/login", headers={"cookie": f"id={planted}"}))
        assert new != planted
        assert data_of(store, planted, clock) == {}
        assert data_of(store, new, clock) == {"user": "victim"}
