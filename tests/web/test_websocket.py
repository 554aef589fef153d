"""Sessions in WebSockets, on a real server and message by message."""

import asyncio
from datetime import timedelta

import httpx2
import pytest
from waiting import wait_until
from web.apps import asgi, browser, cookie_value, count, data_of
from web.messages import new_session, run
from web.server import serving
from websockets.sync.client import connect

from sled_sessions import (
    Id,
    SessionMiddleware,
)
from sled_sessions.examples import websocket
from sled_sessions.stores.clock import utc_now

SCOPE = {"type": "websocket", "path": "/", "headers": []}


def open_socket(app, messages, *, cookie=None):
    """Run a WebSocket application on these incoming messages, and return what it sends."""
    sent = []

    async def receive():
        return messages.pop(0)

    async def send(message):
        sent.append(message)

    headers = [] if cookie is None else [(b"cookie", f"id={cookie}".encode())]
    asyncio.run(app({**SCOPE, "headers": headers}, receive, send))
    return sent


def test_on_a_real_server(any_store, clock):
    """A page begins a session, a WebSocket with its cookie continues it, and a later page sees the changes."""
    clock.now = utc_now()
    with serving(websocket.make_app(any_store)) as address, httpx2.Client(base_url=f"http://{address}") as client:
        assert '<span id="lines">0</span>' in client.get("/").text
        cookie = f"id={client.cookies['id']}"
        for expected in (["1: a", "2: b"], ["3: a", "4: b"]):
            with connect(f"ws://{address}/echo", additional_headers={"cookie": cookie}) as socket:
                for line in "ab":
                    socket.send(line)
                assert [socket.recv(), socket.recv()] == expected
            # The server saves once it notices that the client has left; the client gets no signal.
            wait_until(lambda n=expected[-1][0]: f'<span id="lines">{n}</span>' in client.get("/").text)


def test_cookie_on_accept(store, as_store, clock):
    """The cookie of a session begun before the WebSocket is accepted is sent with the handshake's response."""

    async def app(scope, receive, send):
        scope["session"]["n"] = 1
        await send({"type": "websocket.accept"})

    (accept,) = open_socket(SessionMiddleware(app, as_store(store), clock=clock), [])
    headers = dict(accept["headers"])
    assert headers[b"set-cookie"].startswith(b"id=")
    assert store.count() == 1


def test_saved_on_close(store, as_store, clock):
    """Changes are in the store before the close is sent."""
    cookie = cookie_value(browser(asgi({"/": count}, store, clock=clock)).get("/"))
    seen = []

    async def app(scope, receive, send):
        await send({"type": "websocket.accept"})
        scope["session"]["counter"] = 5
        await send({"type": "websocket.close"})
        seen.append(store.load(Id.parse(cookie)).data)

    open_socket(SessionMiddleware(app, as_store(store), clock=clock), [], cookie=cookie)
    assert seen == [{"counter": 5}]


def test_close_has_no_headers(store, as_store, clock):
    """A WebSocket closed before it is accepted saves the changes and sends the close message unchanged."""
    cookie = cookie_value(browser(asgi({"/": count}, store, clock=clock)).get("/"))
    close = {"type": "websocket.close", "code": 1008}

    async def app(scope, receive, send):
        scope["session"]["counter"] = 5
        await send(close)

    assert open_socket(SessionMiddleware(app, as_store(store), clock=clock), [], cookie=cookie) == [close]
    assert data_of(store, cookie, clock) == {"counter": 5}


@pytest.mark.parametrize("error", [None, ConnectionResetError])
def test_saved_when_the_client_leaves(store, as_store, clock, error):
    """Changes are saved when the client has left, also if the application raises then."""
    cookie = cookie_value(browser(asgi({"/": count}, store, clock=clock)).get("/"))

    async def app(scope, receive, send):
        await send({"type": "websocket.accept"})
        scope["session"]["counter"] = 5
        await receive()
        if error is not None:
            raise error

    try:
        open_socket(
            SessionMiddleware(app, as_store(store), clock=clock), [{"type": "websocket.disconnect"}], cookie=cookie
        )
    except ConnectionResetError:
        assert error is ConnectionResetError
    assert data_of(store, cookie, clock) == {"counter": 5}


def test_keys_of_other_requests_are_kept(store, as_store, clock):
    """Keys that requests set while a WebSocket is open are kept when it closes."""
    cookie = cookie_value(browser(asgi({"/": count}, store, clock=clock)).get("/"))

    async def app(scope, receive, send):
        await send({"type": "websocket.accept"})
        scope["session"]["socket"] = 1
        store.update(
            Id.parse(cookie), lambda record: type(record)(record.id, {**record.data, "page": 1}, record.expiry_date)
        )

    open_socket(SessionMiddleware(app, as_store(store), clock=clock), [], cookie=cookie)
    assert data_of(store, cookie, clock) == {"counter": 1, "socket": 1, "page": 1}


def test_loaded_at_the_handshake(store, as_store, clock):
    """A session that expires while the WebSocket is open can still be read there, but is not restored."""
    cookie = cookie_value(browser(asgi({"/": count}, store, clock=clock)).get("/"))

    async def app(scope, receive, send):
        await send({"type": "websocket.accept"})
        clock.move(timedelta(days=15))
        assert scope["session"]["counter"] == 1
        scope["session"]["counter"] = 2

    open_socket(SessionMiddleware(app, as_store(store), clock=clock), [], cookie=cookie)
    assert store.load(Id.parse(cookie)) is None


def test_closed_instead_of_accepted(store, as_store, clock):
    """A WebSocket closed instead of accepted can change an existing session but not begin one."""
    cookie = cookie_value(browser(asgi({"/": count}, store, clock=clock)).get("/"))

    async def app(scope, receive, send):
        scope["session"]["refused"] = True
        await send({"type": "websocket.close"})

    middleware = SessionMiddleware(app, as_store(store), clock=clock)
    open_socket(middleware, [])
    assert store.count() == 1
    open_socket(middleware, [], cookie=cookie)
    assert data_of(store, cookie, clock) == {"counter": 1, "refused": True}


def test_refused_with_a_response(store, as_store, clock):
    """A WebSocket refused with an HTTP response is treated as a request."""

    async def app(scope, receive, send):
        scope["session"]["n"] = 1
        await send({"type": "websocket.http.response.start", "status": 403, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b""})

    start, _ = open_socket(SessionMiddleware(app, as_store(store), clock=clock), [])
    assert b"set-cookie" in dict(start["headers"])


def test_failed_handshake_saves_nothing(store, as_store, clock):
    """A WebSocket app that raises before it accepts saves nothing, like a request without a response."""
    cookie = new_session(store, clock, n=0)

    async def app(scope, receive, send):
        scope["session"]["n"] = 1
        raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        run(SessionMiddleware(app, as_store(store)), cookie=cookie, kind="websocket")
    assert data_of(store, cookie, clock) == {"n": 0}
