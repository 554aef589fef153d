"""`sled_sessions.testing`: the clock, the fixtures, and `sign_in` with the test clients of every framework."""

import asyncio
import subprocess
import sys
import textwrap
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import flask
import httpx
import httpx2
import litestar.testing
import pytest
import starlette.testclient
from web import apps
from web.apps import asgi, quart_
from web.apps import litestar as litestar_app
from web.apps import starlette as starlette_app

from sled_sessions import AsyncStore, EncodeError, Expiry, Id, MemoryStore
from sled_sessions.session import SessionManager
from sled_sessions.testing import MovableClock, sign_in
from sled_sessions.web.cookies import SessionCookie
from sled_sessions.web.sealing import seal_of

KEY = b"k" * 64
SEALS = [{}, {"signed_key": KEY}, {"private_key": [KEY]}]


def visit(session):
    """Who is it, and for the how many-th time? Each visit gets a new id, and so a new cookie."""
    if "user" not in session:
        return "nobody"
    session["visits"] = session.get("visits", 0) + 1
    session.cycle_id()
    return f"{session['user']} {session['visits']}"


def leave(session):
    session.flush()
    return "bye"


ROUTES = {"/": visit, "/leave": leave}


def flask_app(routes, store, *, secure, **options):
    """A Flask app with the same cookies, whose sessions are opened and committed by a `SessionManager`."""
    app, manager = flask.Flask("test"), SessionManager(store)
    path, name = options.pop("path", "/"), options.pop("name", "id")
    cookie = SessionCookie(name=name, path=path, secure=secure, seal=seal_of(name, **options))

    def view(route):
        def answer():
            value = flask.request.cookies.get(name)
            session = manager.open(cookie.read(None if value is None else value.encode()))
            response = flask.Response(route(session))
            manager.commit(session)
            found = session.id
            if found is not None or value is not None:
                header = cookie.removal if found is None else cookie.write(found, None)
                response.headers["Set-Cookie"] = header.decode()
            return response

        return answer

    for route_path, route in routes.items():
        app.add_url_rule(route_path, route_path, view(route))
    return app


class Sync:
    """A test client whose `get` blocks and returns the text."""

    def __init__(self, client):
        self.client = client

    def get(self, path):
        return self.client.get(path).text


class Async(Sync):
    def get(self, path):
        async def text():
            response = await self.client.get(path)
            return (await response.get_data(as_text=True)) if hasattr(response, "get_data") else response.text

        return asyncio.run(text())


def starlette_client(store, address, **options):
    return Sync(starlette.testclient.TestClient(starlette_app(ROUTES, store, **options), base_url=address))


def litestar_client(store, address, **options):
    return Sync(litestar.testing.TestClient(litestar_app(ROUTES, store, **options), base_url=address))


def httpx2_client(store, address, **options):
    return Sync(httpx2.Client(transport=apps.Transport(asgi(ROUTES, store, **options)), base_url=address))


def async_client(module):
    def make(store, address, **options):
        transport = module.ASGITransport(asgi(ROUTES, store, **options))
        return Async(module.AsyncClient(transport=transport, base_url=address))

    return make


def quart_client(store, address, **options):
    return Async(quart_(ROUTES, store, **options).test_client())


def flask_client(store, address, **options):
    return Sync(flask_app(ROUTES, store, **options).test_client())


CLIENTS = {
    "starlette": starlette_client,
    "litestar": litestar_client,
    "httpx2": httpx2_client,
    "httpx-async": async_client(httpx),
    "httpx2-async": async_client(httpx2),
    "quart": quart_client,
    "flask": flask_client,
}
ADDRESSES = [
    "http://testserver",
    "https://testserver",
    "http://127.0.0.1:8000",
    "https://app.example.org",
    "http://[::1]",
]

LITESTAR_ADVICE = pytest.mark.filterwarnings("ignore:The base_url:UserWarning")  # to add a dot


@LITESTAR_ADVICE
@pytest.mark.parametrize("seal", SEALS, ids=["plain", "signed", "private"])
@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("client", CLIENTS)
def test_signed_in(store, client, address, seal):
    """The client is signed in; the app's next cookies replace `sign_in`'s, and a log-out removes it."""
    if client == "litestar" and "[" in address:
        pytest.skip("Litestar's client cannot read IPv6 addresses")
    visitor = CLIENTS[client](store, address, secure=address.startswith("https"), **seal)
    assert visitor.get("/") == "nobody"
    id = sign_in(visitor.client, store, {"user": "ada"}, **seal)
    assert isinstance(id, Id)
    assert store.load(id).data == {"user": "ada"}
    assert [visitor.get("/") for _ in range(3)] == ["ada 1", "ada 2", "ada 3"]
    sign_in(visitor.client, store, {"user": "alan"}, **seal)
    assert visitor.get("/") == "alan 1"
    assert visitor.get("/leave") == "bye"
    assert visitor.get("/") == "nobody"


@LITESTAR_ADVICE
@pytest.mark.parametrize("client", CLIENTS)
def test_name_and_path(store, client):
    """The cookie has the middleware's name and path, so that there are never two."""
    visitor = CLIENTS[client](store, "http://testserver", secure=False, name="sid", path="/leave")
    sign_in(visitor.client, store, {"user": "ada"}, name="sid", path="/leave")
    if client != "quart":  # whose client ignores paths
        assert visitor.get("/") == "nobody"
    assert visitor.get("/leave") == "bye"
    assert store.count() == 0


@pytest.mark.parametrize("client", ["starlette", "flask", "quart"])
def test_host_prefix(store, client):
    """A cookie with a prefix needs HTTPS, as in a browser."""
    visitor = CLIENTS[client](store, "https://testserver", secure=True, name="__Host-id")
    sign_in(visitor.client, store, {"user": "ada"}, name="__Host-id")
    assert [visitor.get("/"), visitor.get("/")] == ["ada 1", "ada 2"]
    with pytest.raises(ValueError, match="base_url='https:"):
        sign_in(starlette_client(store, "http://testserver", secure=False).client, store, {"n": 1}, name="__Host-id")


@pytest.mark.parametrize("in_thread", [False, True])
def test_asyncio_store(clock, in_thread):
    """With an asyncio store `sign_in` is awaited."""
    store = AsyncStore(MemoryStore(clock=clock), in_thread=in_thread)
    transport = httpx2.ASGITransport(asgi(ROUTES, store, secure=False))

    async def main():
        async with httpx2.AsyncClient(transport=transport, base_url="http://testserver") as client:
            id = await sign_in(client, store, {"user": "ada"})
            assert (await store.load(id)).data == {"user": "ada"}
            assert [(await client.get("/")).text for _ in range(2)] == ["ada 1", "ada 2"]

    asyncio.run(main())


def test_expiry(session_store, session_clock):
    """The session has the given policy, and ends when the clock has moved past it."""
    app = starlette_app(ROUTES, session_store, secure=False)
    client = starlette.testclient.TestClient(app)
    id = sign_in(client, session_store, {"user": "ada"}, expiry=Expiry.on_inactivity(timedelta(hours=1)))
    assert session_store.load(id).expiry_date == session_clock() + timedelta(hours=1)
    session_clock.move(timedelta(minutes=59))
    assert session_store.load(id) is not None
    session_clock.move(timedelta(minutes=1))
    assert client.get("/").text == "nobody"


def test_refused(store):
    """Wrong arguments raise, and store nothing."""
    client = httpx2.Client(base_url="http://testserver")
    with pytest.raises(ValueError, match="without data"):
        sign_in(client, store, {})
    with pytest.raises(ValueError, match="expiry that has passed"):
        sign_in(client, store, {"n": 1}, expiry=Expiry.at(datetime(2020, 1, 1, tzinfo=UTC)))
    with pytest.raises(ValueError, match="base_url"):
        sign_in(httpx2.Client(), store, {"n": 1})
    with pytest.raises(ValueError, match="not both"):
        sign_in(client, store, {"n": 1}, signed_key=KEY, private_key=KEY)
    with pytest.raises(EncodeError):
        sign_in(client, store, {"n": object()})
    for wrong in (None, object(), store):
        with pytest.raises(TypeError, match="test client"):
            sign_in(wrong, store, {"n": 1})
    with pytest.raises(TypeError, match="SessionStore"):
        sign_in(client, {}, {"n": 1})
    assert store.count() == 0
    assert not list(client.cookies.jar)


def test_clock():
    """It shows its start, in UTC, and moves as far as it is told: an hour is an hour over a change to summer time."""
    start = datetime(2030, 3, 31, 1, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    clock = MovableClock(start)
    assert clock() == clock() == start
    clock.move(timedelta(hours=1))
    assert clock() == datetime(2030, 3, 31, 1, 30, tzinfo=UTC)
    assert abs(MovableClock()() - datetime.now(UTC)) < timedelta(seconds=30)
    with pytest.raises(EncodeError, match="start"):
        MovableClock(datetime(2030, 1, 1))


def test_without_pytest():
    """The module can be imported, and its clock and `sign_in` used, where pytest is not installed."""
    program = """
        import sys
        sys.modules["pytest"] = None
        from sled_sessions import MemoryStore
        from sled_sessions.testing import MovableClock, session_clock, session_store, sign_in
        assert session_store(session_clock()).count() == 0
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True)
