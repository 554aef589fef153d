"""The middleware on bare ASGI applications: when it loads, what it passes through, and its clock."""

import asyncio
import subprocess
import sys
import threading
from datetime import timedelta

import pytest
from web.apps import asgi, browser, cookie_value, data_of
from web.messages import START, ignoring, new_session, run

from sled_sessions import (
    AsyncStore,
    CachingStore,
    Expiry,
    Id,
    MemoryStore,
    Record,
    Session,
    SessionMiddleware,
    observe,
)
from sled_sessions.session import SessionManager
from sled_sessions.web.sealing import Signed


@pytest.mark.parametrize(
    ("options", "cookie"),
    [
        ({}, "A" * 22),
        ({"signed_key": b"k" * 64}, Signed(b"k" * 64).seal("A" * 22)),
        ({"always_save": True}, None),
    ],
)
def test_unused_session_makes_no_store_call(clock, options, cookie):
    """A request that does not use its session makes no store call, whatever its cookie."""

    class Silent(MemoryStore):
        def load(self, id):
            raise AssertionError("loaded")

    start, _ = run(SessionMiddleware(ignoring, Silent(clock=clock), clock=clock, **options), cookie=cookie)
    assert start is START


def test_session_is_loaded_once(clock):
    """A session is loaded once, however often the request uses it."""
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
    """Importing the middleware imports no web framework, server or cryptography."""
    imported = "{'starlette', 'litestar', 'quart', 'uvicorn', 'click', 'cryptography'} & set(sys.modules)"
    code = f"import sys; from sled_sessions import SessionMiddleware; print({imported})"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"


@pytest.mark.parametrize("kind", ["lifespan", "webtransport"])
def test_other_protocols_pass_through(store, kind):
    """Connections other than requests and WebSockets are passed through unchanged."""
    scopes = []

    async def app(scope, receive, send):
        scopes.append(scope)

    asyncio.run(SessionMiddleware(app, store)({"type": kind}, None, None))
    assert scopes == [{"type": kind}]


def test_session_fixation(store, clock):
    """A planted id, whether made up, of an ended session or of the attacker's own, never becomes the victim's."""
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


def test_concurrent_loads_in_threads():
    """If two threads load a session at once, neither undoes what the other has set."""
    barrier = threading.Barrier(2, timeout=20)

    def load():
        barrier.wait()
        return Record(Id.new(), {"a": 1}, Expiry.on_session_end().expiry_date(MemoryStore().clock()))

    for _ in range(50):
        session = Session(load)
        threads = [threading.Thread(target=session.__setitem__, args=(key, 1)) for key in "xy"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert dict(session) == {"a": 1, "x": 1, "y": 1}


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda store: store,
        AsyncStore,
        lambda store: CachingStore(MemoryStore(clock=store.clock), store),
        lambda store: observe(store, print),
    ],
    ids=["bare", "async", "caching", "observed"],
)
def test_default_clock_is_the_stores(clock, wrapped):
    """Middleware and SessionManager use their store's clock, also that of a wrapped store."""
    clock.move(timedelta(days=-3650))
    store = MemoryStore(clock=clock)
    middleware = SessionMiddleware(ignoring, wrapped(store), expiry=Expiry.on_inactivity(timedelta(minutes=1)))
    assert middleware.clock() == clock()
    with SessionManager(store, expiry=Expiry.on_inactivity(timedelta(minutes=1))).session() as session:
        session["n"] = 1
    assert store.first_expiry() == clock() + timedelta(minutes=1)


def test_names_of_starlettes_sessions(store, clock):
    """Apps may read and set the attributes of Starlette's and Quart's sessions."""
    cookie, seen = new_session(store, clock, cart=[]), []

    async def app(scope, receive, send):
        session = scope["session"]
        seen.append((session.accessed, session.modified))
        assert not session.new
        session["cart"].append(1)
        session.mark_modified()
        session.modified = session.accessed = session.permanent = session.new = True
        assert not session.permanent
        seen.append((session.accessed, session.modified))
        await send(START)

    run(SessionMiddleware(app, store), cookie=cookie)
    assert seen == [(False, False), (True, True)]
    assert data_of(store, cookie, clock) == {"cart": [1]}
