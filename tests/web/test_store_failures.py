"""Requests whose store fails, undecodable records, and cancelled requests."""

import asyncio
import logging
import traceback
from contextlib import suppress
from datetime import timedelta

import anyio
import pytest
from web.apps import asgi, browser, count, data_of, has_cookie
from web.messages import BODY, START, headers_of, ignoring, new_session, run

from sled_sessions import (
    AsyncStore,
    BackendError,
    EncodeError,
    Id,
    MemoryStore,
    Record,
    SessionMiddleware,
    SledStore,
)


class Failing(MemoryStore):
    """A store whose writes fail while `broken` is set."""

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


def test_failed_save_fails_the_request(clock, as_store):
    """If the session cannot be saved, the request fails instead of answering as if it had been."""
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


def test_error_page_after_a_failed_save(clock):
    """An application may handle a store failure and respond with its own 5xx."""
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
def test_failed_save_is_not_retried(clock, as_store, kind, message, is_handled):
    """If the save before the response fails and the app sends no response, its changes are dropped."""
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
def test_exception_of_the_app_takes_precedence(clock, as_store, caplog, act, kind):
    """An app's exception reaches the server even if its session cannot be ended or was replaced by invalid data."""

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


def test_failed_delete_of_a_cleared_session(store, as_store, clock):
    """A cleared session has ended even if its record cannot be deleted and waits for a sweep."""
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
def test_cancelled_request_ends_its_session(store, clock, caplog, has_answered, disk_is_full):
    """A flush takes effect, or the log says why not, even in an anyio scope where the request can no longer await."""
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
    """A store whose reads fail."""

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
def test_errors_and_logs_show_no_id(make, use, error, kind, as_store, clock, caplog):
    """Logs, messages and our frames in a traceback with local variables show neither ids nor values."""
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
    assert own
    for text in (str(own), str(caught.value), caplog.text):
        assert cookie not in text
        assert "hunter2" not in text


async def flushing(scope, receive, send):
    scope["session"].flush()
    await send(START)


def test_undecodable_record(tmp_path, as_store, clock, caplog):
    """The visitor gets no session but can begin one and log out; the record is kept, and the log shows no id."""
    caplog.set_level(logging.DEBUG, "sled_sessions")
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


def test_unreachable_store_fails_only_requests_that_use_it(as_store):
    """Requests that do not use their session are served; others get the store's error and may handle it."""
    cookie, handled = str(Id.new()), []

    async def handling(scope, receive, send):
        with pytest.raises(BackendError) as error:
            scope["session"].get("user")
        handled.append(error.value)
        await ignoring(scope, receive, send)

    async def using(scope, receive, send):
        scope["session"]["n"] = 1

    store = as_store(Unreachable())
    assert run(SessionMiddleware(ignoring, store), cookie=cookie) == [START, BODY]
    run(SessionMiddleware(handling, store), cookie=cookie)
    assert len(handled) == 1
    with pytest.raises(BackendError):
        run(SessionMiddleware(using, store), cookie=cookie)
    with pytest.raises(BackendError):
        run(SessionMiddleware(ignoring, store), cookie=cookie, kind="websocket")
