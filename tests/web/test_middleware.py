"""What the middleware does message by message, on a bare ASGI application."""

import asyncio
import enum
import logging
import subprocess
import sys
import traceback
from collections import ChainMap
from contextlib import suppress
from datetime import timedelta
from types import MappingProxyType

import anyio
import attrs
import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware as StarletteSessionMiddleware
from starlette.routing import Mount
from web.apps import asgi, browser, cookie_value, count, data_of, has_cookie
from web.messages import BODY, START, headers_of, ignoring, new_session, run

from sled_sessions import (
    AsyncStore,
    BackendError,
    EncodeError,
    Expiry,
    Id,
    MemoryStore,
    Record,
    SessionMiddleware,
)
from sled_sessions.web.sealing import Signed


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


def test_saved_before_the_first_byte(store, as_store, clock):
    """When the first byte of the response is on its way, the next request would already see the change."""

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
    """What a streaming body or a background task changes is saved when the application returns."""
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


def test_a_flush_after_the_start(store, as_store, clock):
    """A session that is flushed while the body streams is gone afterwards."""
    cookie = new_session(store, clock, user="ada")

    async def app(scope, receive, send):
        await send(START)
        scope["session"].flush()
        await send(BODY)

    run(SessionMiddleware(app, as_store(store), clock=clock), cookie=cookie)
    assert store.count() == 0


def test_too_late_for_a_cookie(store, as_store, clock, caplog):
    """A session begun after the response has started cannot be told to the browser: not stored, but logged."""

    async def app(scope, receive, send):
        await send(START)
        scope["session"]["user"] = "ada"
        await send(BODY)

    run(SessionMiddleware(app, as_store(store), clock=clock))
    assert store.count() == 0
    assert "after the response had started: not saved" in caplog.text


def test_too_late_for_a_new_id(store, as_store, clock, caplog):
    """A session whose id is cycled after the response has started stays under its id, and the log says so."""
    cookie = new_session(store, clock, n=1)

    async def app(scope, receive, send):
        await send(START)
        scope["session"].cycle_id()

    run(SessionMiddleware(app, as_store(store), clock=clock), cookie=cookie)
    assert data_of(store, cookie, clock) == {"n": 1}
    assert "after the response had started: not saved" in caplog.text


@pytest.mark.parametrize(("status", "saved"), [(499, {"early": 1, "late": 1}), (500, {})])
def test_a_server_error_saves_nothing(store, as_store, clock, status, saved):
    """Neither what was changed before a 5xx nor what is changed while its body streams is saved; a 4xx is none."""
    cookie = new_session(store, clock, n=1)

    async def app(scope, receive, send):
        scope["session"]["early"] = 1
        await send({**START, "status": status})
        scope["session"]["late"] = 1

    run(SessionMiddleware(app, as_store(store), clock=clock), cookie=cookie)
    assert data_of(store, cookie, clock) == {"n": 1, **saved}


def test_failures_while_streaming(store, as_store, clock):
    """An exception while the body streams drops what was changed since the start."""
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
    """An application that returns without a response has failed."""

    async def app(scope, receive, send):
        scope["session"]["n"] = 1

    assert run(SessionMiddleware(app, as_store(store), clock=clock)) == []
    assert store.count() == 0


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


def test_deleted_in_the_meantime(store, as_store, clock):
    """A session that another request has ended is not brought back by a slow one, whose response removes the cookie."""
    cookie = new_session(store, clock, n=0)

    async def app(scope, receive, send):
        scope["session"]["n"] = 1
        (record,) = store.records()
        store.delete(record.id)
        await send(START)
        scope["session"]["n"] = 2
        await send(BODY)

    start, _ = run(SessionMiddleware(app, as_store(store), clock=clock), cookie=cookie)
    assert headers_of(start)["set-cookie"].startswith("id=; ")
    assert store.count() == 0


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


@pytest.mark.parametrize("act", ["cycle_id", "clear", "flush"])
def test_ended_in_the_meantime(store, as_store, clock, act):
    """Neither a new id, nor emptying, nor another log-out brings an ended session back."""
    cookie = new_session(store, clock, n=0)

    async def app(scope, receive, send):
        getattr(scope["session"], act)()
        (record,) = store.records()
        store.delete(record.id)
        await send(START)
        await send(BODY)

    start, _ = run(SessionMiddleware(app, as_store(store), clock=clock), cookie=cookie)
    assert headers_of(start)["set-cookie"].startswith("id=; ")
    assert store.count() == 0


def test_parallel_requests_are_merged(store, as_store, clock):
    """Two requests that run at the same time keep each other's keys; the last one to set a key wins it."""
    cookie = new_session(store, clock, shared=0, gone=0, kept=0)

    async def slow(scope, receive, send):
        session = scope["session"]
        session["slow"] = session["shared"] = 1
        del session["gone"]

        async def fast(scope, receive, send):
            scope["session"].update(fast=1, shared=2, gone=2)
            await send(START)

        async def ignore(message):
            pass

        await SessionMiddleware(fast, as_store(store), clock=clock)(
            {"type": "http", "path": "/", "headers": scope["headers"]}, receive, ignore
        )
        await send(START)
        await send(BODY)

    run(SessionMiddleware(slow, as_store(store), clock=clock), cookie=cookie)
    assert data_of(store, cookie, clock) == {"slow": 1, "fast": 1, "shared": 1, "kept": 0}


def test_emptying_keeps_what_others_add(store, as_store, clock):
    """A request that removes the last key it knows of does not end a session to which another one has added."""
    cookie = new_session(store, clock, flash="saved!")

    async def app(scope, receive, send):
        scope["session"].pop("flash")
        (record,) = store.records()
        store.save(type(record)(record.id, {**record.data, "cart": [1]}, record.expiry_date))
        await send(START)
        await send(BODY)

    run(SessionMiddleware(app, as_store(store), clock=clock), cookie=cookie)
    assert data_of(store, cookie, clock) == {"cart": [1]}


def test_cycling_keeps_what_others_add(store, as_store, clock):
    """A login does not lose what another request wrote under the old id meanwhile."""
    cookie = new_session(store, clock, cart=[])

    async def app(scope, receive, send):
        scope["session"].cycle_id()
        (record,) = store.records()
        store.save(type(record)(record.id, {**record.data, "cart": [1]}, record.expiry_date))
        await send(START)
        await send(BODY)

    start, _ = run(SessionMiddleware(app, as_store(store), clock=clock), cookie=cookie)
    new = headers_of(start)["set-cookie"][3:25]
    assert data_of(store, new, clock) == {"cart": [1]}
    assert store.count() == 1


def test_a_policy_in_the_past_ends_the_session(store, as_store, clock):
    """A session whose expiry date has come is not written but ended."""
    cookie = new_session(store, clock, n=0)

    async def app(scope, receive, send):
        scope["session"].expiry = Expiry.at(clock() - timedelta(seconds=1))
        await send(START)

    (start,) = run(SessionMiddleware(app, as_store(store), clock=clock), cookie=cookie)
    assert headers_of(start)["set-cookie"].startswith("id=; ")
    assert store.count() == 0


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], {"vary": "Cookie", "cache-control": "private"}),
        ([(b"vary", b"Accept, Cookie")], {"vary": "Accept, Cookie", "cache-control": "private"}),
        ([(b"Vary", b"*")], {"vary": "*", "cache-control": "private"}),
        ([(b"cache-control", b"no-store")], {"vary": "Cookie", "cache-control": "no-store"}),
    ],
)
def test_caching_headers(store, clock, given, expected):
    """A response with a session cookie is for one visitor; what the application says itself stands."""

    async def app(scope, receive, send):
        scope["session"]["n"] = 1
        await send({**START, "headers": given})

    (start,) = run(SessionMiddleware(app, store, clock=clock))
    headers = headers_of(start)
    del headers["set-cookie"]
    assert headers == expected
    assert len(start["headers"]) == 3


def test_the_messages_of_the_app_stay_its_own(store, as_store, clock):
    """An app that answers several visitors with one message does not send each the others' cookies."""
    headers = [(b"content-type", b"text/plain")]

    async def app(scope, receive, send):
        scope["session"]["n"] = 1
        await send({**START, "headers": headers})

    run(SessionMiddleware(app, as_store(store), clock=clock))
    assert headers == [(b"content-type", b"text/plain")]


def test_vary_beside_others(store, clock):
    """Cookie is added to what a response varies by already."""

    async def app(scope, receive, send):
        assert "n" not in scope["session"]
        await send({**START, "headers": [(b"vary", b"Accept-Encoding")]})

    (start,) = run(SessionMiddleware(app, store, clock=clock))
    assert start["headers"] == [(b"vary", b"Accept-Encoding"), (b"vary", b"Cookie")]


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
