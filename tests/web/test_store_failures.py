"""Requests whose store fails, and requests that are cancelled."""

import asyncio
import logging
import traceback
from contextlib import suppress
from datetime import timedelta

import anyio
import pytest
from web.apps import asgi, browser, count, data_of, has_cookie
from web.messages import BODY, START, headers_of, new_session, run

from sled_sessions import (
    AsyncStore,
    BackendError,
    EncodeError,
    Id,
    MemoryStore,
    Record,
    SessionMiddleware,
)


class Failing(MemoryStore):
    """A store whose writes fail while it is told so."""

    broken = False

    def _check(self):
        if self.broken:
            raise BackendError("the disk is full")

    def create(self, record):
        self._check()
        return super().create(record)

    def update(self, id, change, *, seen=None):
        self._check()
        return super().update(id, change)


def test_a_store_failure_is_no_success(clock, as_store):
    """When the session cannot be saved the request fails: no response leaves that pretends it was."""
    store = Failing(clock=clock)
    cookie = new_session(store, clock, counter=5)
    store.broken = True
    client = browser(asgi({"/": count}, as_store(store), clock=clock))
    for headers in ({}, {"cookie": f"id={cookie}"}):
        response = client.get("/", headers=headers)
        assert response.status_code == 500
        assert not has_cookie(response)
    store.broken = False
    assert client.get("/", headers={"cookie": f"id={cookie}"}).text == "Current count: 5"


def test_an_error_page_after_a_store_failure(clock):
    """An application that answers a store failure with a 5xx of its own is let through."""
    store = Failing(clock=clock)
    store.broken = True

    async def app(scope, receive, send):
        scope["session"]["n"] = 1
        try:
            await send(START)
        except BackendError:
            await send({**START, "status": 503})
        await send(BODY)

    assert run(SessionMiddleware(app, store, clock=clock))[0]["status"] == 503


@pytest.mark.parametrize(("kind", "message"), [("http", START), ("websocket", {"type": "websocket.accept"})])
@pytest.mark.parametrize("is_handled", [True, False])
def test_what_could_not_be_saved_in_time_is_dropped(clock, as_store, kind, message, is_handled):
    """When the save before the response fails, and there is none, it is not made up for when the app returns."""
    store = Failing(clock=clock)
    cookie = new_session(store, clock, n=0)

    async def app(scope, receive, send):
        scope["session"]["n"] = 1
        store.broken = True
        try:
            await send(message)
        except BackendError:
            if not is_handled:
                raise
        finally:
            store.broken = False

    with suppress(BackendError):
        assert run(SessionMiddleware(app, as_store(store), clock=clock), cookie=cookie, kind=kind) == []
    assert data_of(store, cookie, clock) == {"n": 0}


@pytest.mark.parametrize(
    ("act", "kind"), [("flush", "http"), ("flush", "websocket"), ("replace", "http"), ("replace", "websocket")]
)
def test_the_error_of_the_app_comes_first(clock, as_store, caplog, act, kind):
    """What an app raises reaches the server, even if its session cannot be ended or is no session any more."""

    class NoDeletes(MemoryStore):
        def delete(self, id):
            raise BackendError("the disk is full")

    store = NoDeletes(clock=clock)
    cookie = new_session(store, clock, n=0)

    async def app(scope, receive, send):
        if kind == "websocket":
            await send({"type": "websocket.accept"})
        if act == "flush":
            scope["session"].flush()
        else:
            scope["session"] = {"n": object()}
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(SessionMiddleware(app, as_store(store), clock=clock), cookie=cookie, kind=kind)
    assert ("could not be ended" in caplog.text) is ((act, kind) != ("replace", "http"))


def test_what_cannot_be_cleared_away_fails_no_request(store, as_store, clock):
    """A session that was emptied has ended, even if its record cannot be deleted and waits for a sweep."""
    cookie = new_session(store, clock, n=0)

    async def app(scope, receive, send):
        scope["session"].clear()
        await send(START)

    def fail(id):
        raise BackendError("the disk is full")

    store.delete = fail
    (start,) = run(SessionMiddleware(app, as_store(store), clock=clock), cookie=cookie)
    assert headers_of(start)["set-cookie"].startswith("id=; ")
    assert data_of(store, cookie, clock) == {}


@pytest.mark.parametrize("has_answered", [False, True])
@pytest.mark.parametrize("disk_is_full", [False, True])
def test_a_cancelled_request_ends_its_session(store, clock, caplog, has_answered, disk_is_full):
    """What was flushed is gone, or the log says why not, also when an anyio scope lets the request await nothing."""
    cookie = new_session(store, clock, n=0)
    ended = asyncio.Event()
    request = None

    class Remote(AsyncStore):
        async def delete(self, id):
            if has_answered:
                request.cancel()
            await asyncio.sleep(0)
            ended.set()
            if disk_is_full:
                raise BackendError("the disk is full")
            return await super().delete(id)

    async def app(scope, receive, send):
        if has_answered:
            await send(START)
        scope["session"].flush()
        if not has_answered:
            request.cancel()
            await asyncio.Event().wait()

    async def send(message):
        pass

    middleware = SessionMiddleware(app, Remote(store), clock=clock)

    async def serve():
        nonlocal request
        scope = {"type": "http", "path": "/", "headers": [(b"cookie", f"id={cookie}".encode())]}
        with anyio.CancelScope() as request:
            await middleware(scope, None, send)
        assert request.cancelled_caught
        async with asyncio.timeout(30):
            await ended.wait()
        await asyncio.sleep(0)

    asyncio.run(serve())
    assert not middleware._under_way
    assert store.count() == disk_is_full
    assert ("could not be ended" in caplog.text) is disk_is_full


class Unreachable(MemoryStore):
    """A store that nobody can read or write any more."""

    def load(self, id):
        raise BackendError("gone away")


def set_something_else(session):
    session["cart"] = [str(session)]
    session["cart"].append(object())


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    ("make", "use", "error"),
    [
        (MemoryStore, set_something_else, EncodeError),
        (Failing, count, BackendError),
        (Unreachable, count, BackendError),
    ],
)
def test_nothing_tells_the_id(make, use, error, kind, as_store, clock, caplog):
    """Neither logs, nor messages, nor our frames in a traceback with local variables show an id or a value."""
    caplog.set_level(logging.DEBUG)
    store = make(clock=clock)
    record = store.create(Record(Id.new(), {"secret": "hunter2"}, clock() + timedelta(days=1)))
    store.broken = True
    cookie = str(record.id)

    async def app(scope, receive, send):
        use(scope["session"])
        await send({**START, "type": START["type"] if kind == "http" else "websocket.accept"})

    with pytest.raises(error) as caught:
        run(SessionMiddleware(app, as_store(store), clock=clock), cookie=cookie, kind=kind)
    stack = traceback.TracebackException.from_exception(caught.value, capture_locals=True).stack
    own = [frame.locals for frame in stack if "/sled_sessions/web/" in frame.filename]
    for variables in own:
        variables.pop("scope", None)  # the request itself, which each ASGI application has in its hands
    assert own
    for text in (str(own), str(caught.value), caplog.text):
        assert cookie not in text
        assert "hunter2" not in text
