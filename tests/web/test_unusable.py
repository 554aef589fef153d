"""Sessions that cannot be loaded, and set-ups that cannot work."""

import asyncio
import logging
import threading
from datetime import datetime, timedelta
from types import SimpleNamespace

import pytest
from web.apps import data_of
from web.messages import BODY, START, headers_of, ignoring, new_session, run

from sled_sessions import (
    AsyncCachingStore,
    AsyncStore,
    BackendError,
    CachingStore,
    EncodeError,
    Expiry,
    Id,
    MemoryStore,
    Record,
    Session,
    SessionMiddleware,
    SledStore,
    observe,
)
from sled_sessions.redis import RedisStore
from sled_sessions.session import SessionManager
from sled_sessions.web.quart import QuartSessions


class Away(MemoryStore):
    """A store that cannot be reached."""

    def load(self, id):
        raise BackendError("no answer")


async def flushing(scope, receive, send):
    scope["session"].flush()
    await send(START)


def test_a_record_that_cannot_be_read_is_no_session(tmp_path, as_store, clock, caplog):
    """Its visitor can go on, and log out; the record stays for whoever can mend it, and the log tells no id."""
    id = Id.new()

    async def beginning(scope, receive, send):
        scope["session"]["user"] = "ada"
        await send(START)

    with SledStore.open(tmp_path / "storage", clock=clock) as store:
        store.tree.insert(bytes(id), b"garbage")
        (start,) = run(SessionMiddleware(flushing, as_store(store)), cookie=str(id))
        assert headers_of(start)["set-cookie"].startswith("id=; ")
        (start,) = run(SessionMiddleware(beginning, as_store(store)), cookie=str(id))
        assert str(id) not in headers_of(start)["set-cookie"]
        assert store.tree.get(bytes(id)) == b"garbage"
    assert "could not be decoded" in caplog.text
    assert str(id)[:6] not in caplog.text


def test_a_store_that_is_away_stops_only_who_uses_it(as_store):
    """A request that leaves its session alone is served; one that uses it gets the store's error, and may handle it."""
    cookie, handled = str(Id.new()), []

    async def handling(scope, receive, send):
        with pytest.raises(BackendError) as error:
            scope["session"].get("user")
        handled.append(error.value)
        await ignoring(scope, receive, send)

    async def using(scope, receive, send):
        scope["session"]["n"] = 1

    store = as_store(Away())
    assert run(SessionMiddleware(ignoring, store), cookie=cookie) == [START, BODY]
    run(SessionMiddleware(handling, store), cookie=cookie)
    assert len(handled) == 1
    with pytest.raises(BackendError):
        run(SessionMiddleware(using, store), cookie=cookie)
    with pytest.raises(BackendError):
        run(SessionMiddleware(ignoring, store), cookie=cookie, kind="websocket")


def test_a_handshake_that_fails_saves_nothing(store, as_store, clock):
    """A WebSocket app that raises before it accepts has failed, like a request without a response."""
    cookie = new_session(store, clock, n=0)

    async def app(scope, receive, send):
        scope["session"]["n"] = 1
        raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        run(SessionMiddleware(app, as_store(store)), cookie=cookie, kind="websocket")
    assert data_of(store, cookie, clock) == {"n": 0}


def test_threads_that_load_at_the_same_time():
    """Whichever thread loads last, what the other one has set since stays."""
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
def test_the_clock_is_the_stores(clock, wrapped):
    """A middleware and a manager tell the time by their store's clock, also through what wraps the store."""
    clock.advance(days=-3650)
    store = MemoryStore(clock=clock)
    middleware = SessionMiddleware(ignoring, wrapped(store), expiry=Expiry.on_inactivity(timedelta(minutes=1)))
    assert middleware.clock() == clock()
    with SessionManager(store, expiry=Expiry.on_inactivity(timedelta(minutes=1))).session() as session:
        session["n"] = 1
    assert store.first_expiry() == clock() + timedelta(minutes=1)


def test_starlettes_names(store, clock):
    """Apps for Starlette's and Quart's sessions may say what is known here without, and ask for it."""
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


@pytest.mark.parametrize(
    "make",
    [
        lambda app, store: SessionMiddleware(app, store, expiry=timedelta(hours=1)),
        lambda app, store: SessionMiddleware(app, store, touch_after=60),
        lambda app, store: SessionMiddleware(app, store, signed_key=64),
        lambda app, store: SessionMiddleware(app, MemoryStore),
        lambda app, store: SessionMiddleware(app, None),
        lambda app, store: SessionMiddleware(app, store, name=None),
        lambda app, store: SessionMiddleware(app, store, name=b"id"),
        lambda app, store: SessionMiddleware(app, store, path=None),
        lambda app, store: SessionManager(store, expiry=60),
        lambda app, store: SessionManager(None),
        lambda app, store: setattr(Session(lambda: None), "expiry", timedelta(hours=1)),
        lambda app, store: SessionMiddleware(app, store, clock=datetime.now),
        lambda app, store: SessionManager(store, clock=datetime.now),
        lambda app, store: CachingStore(store, "storage"),
        lambda app, store: AsyncCachingStore(store, AsyncStore(store), max_age=1),
        lambda app, store: RedisStore.from_url("redis://localhost", timeout=5),
        lambda app, store: Record(str(Id.new()), {}, store.clock()),
        lambda app, store: store.delete_expired(budget=5),
    ],
)
def test_arguments_of_another_type(store, make):
    """What cannot work is refused where it is said, and the error names what is expected."""
    with pytest.raises((TypeError, EncodeError), match=r"must be|is an Id"):
        make(ignoring, store)


def test_quart_without_the_middleware():
    """A request that came past the middleware is told what is missing."""
    request = SimpleNamespace(scope={"type": "http"})
    with pytest.raises(RuntimeError, match="SessionMiddleware"):
        asyncio.run(QuartSessions().open_session(None, request))


@pytest.fixture(autouse=True)
def _log_all(caplog):
    caplog.set_level(logging.DEBUG, "sled_sessions")
