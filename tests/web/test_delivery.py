"""Whether the cookie reaches the browser and comes back: paths, plain HTTP, and shared caches."""

import pytest
from web.apps import browser, cookie_value, count, has_cookie
from web.messages import headers_of, new_session, run

from sled_sessions import SessionMiddleware
from sled_sessions.web.delivery import requested_path


@pytest.mark.parametrize(
    ("scope", "path"),
    [
        ({"path": "/a b"}, b"/a%20b"),
        ({"path": "/a b", "raw_path": b"/a%20b?c=d"}, b"/a%20b"),
        ({"path": "/app/x", "raw_path": b"/app/x", "root_path": "/app"}, b"/app/x"),  # Starlette's mounts
        ({"path": "/x", "raw_path": b"/x", "root_path": "/app"}, b"/app/x"),  # behind a proxy that strips a prefix
        ({"path": "/x", "raw_path": None, "root_path": "/app/"}, b"/app/x"),
        ({"path": "/app", "raw_path": b"/app", "root_path": "/app"}, b"/app"),
        ({"path": "/apple", "raw_path": b"/apple", "root_path": "/app"}, b"/app/apple"),
    ],
)
def test_requested_path(scope, path):
    """The path is that of the browser's URL, whether or not the server's contains the prefix."""
    assert requested_path(scope) == path


@pytest.mark.parametrize(
    ("cookie", "requested", "comes_back"),
    [
        ("/", "/x", True),
        ("/app", "/app", True),
        ("/app", "/app/x", True),
        ("/app", "/apple", False),
        ("/app", "/", False),
        ("/app/", "/app/x", True),
        ("/app/", "/app", False),
        ("/a%20b", "/a b/c", True),
    ],
)
def test_path_match(store, clock, cookie, requested, comes_back):
    """A cookie comes back for its path and what is below it, as RFC 6265 has it; else nothing is stored."""

    async def app(scope, receive, send):
        scope["session"]["n"] = 1
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def requesting(scope, receive, send):
        await SessionMiddleware(app, store, path=cookie, clock=clock)(scope | {"path": requested}, receive, send)

    (start,) = run(requesting)
    assert ("set-cookie" in headers_of(start), store.count()) == (comes_back, int(comes_back))


def starlette_mount(inner, **options):
    from starlette.applications import Starlette
    from starlette.routing import Mount

    return Starlette(routes=[Mount("/shop", SessionMiddleware(inner, **options))])


def starlette_mount_inside(inner, **options):
    from starlette.applications import Starlette
    from starlette.routing import Mount

    return SessionMiddleware(Starlette(routes=[Mount("/shop", inner)]), **options)


def fastapi_root_path(inner, **options):
    from fastapi import FastAPI

    app = FastAPI()
    app.mount("/", inner)
    app.add_middleware(SessionMiddleware, **options)

    async def served(scope, receive, send):  # as uvicorn behind a proxy that strips the prefix
        await app(scope | {"root_path": "/shop", "path": f"/shop{scope['path']}"}, receive, send)

    return served


def litestar_mount(inner, **options):
    from litestar import Litestar, asgi

    return Litestar([asgi("/shop", is_mount=True, copy_scope=True)(SessionMiddleware(inner, **options))])


@pytest.mark.parametrize("mount", [starlette_mount, starlette_mount_inside, fastapi_root_path, litestar_mount])
@pytest.mark.parametrize("path", ["/shop", "/shop/count", "/shopping"])
def test_mounts(store, clock, mount, path):
    """An application below a prefix has its sessions on a cookie for that prefix, in every framework's scope."""

    async def inner(scope, receive, send):
        text = count(scope["session"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": text.encode()})

    app = mount(inner, store=store, path=path, clock=clock)
    url = "/count" if mount is fastapi_root_path else "/shop/count"
    first = browser(app).get(url)
    begins = path != "/shopping"
    assert (first.text, has_cookie(first), store.count()) == ("Current count: 0", begins, int(begins))
    if begins:
        second = browser(app).get(url, headers={"cookie": f"id={cookie_value(first)}"})
        assert (second.text, store.count()) == ("Current count: 1", 1)


def answer(store, clock, act, *cache_control, cookie=None):
    """The headers of a response to a request with this cookie, whose app did something and set `Cache-Control`."""

    async def app(scope, receive, send):
        act(scope["session"])
        headers = [(b"cache-control", value) for value in cache_control]
        await send({"type": "http.response.start", "status": 200, "headers": headers})

    return headers_of(run(SessionMiddleware(app, store, clock=clock), cookie=cookie)[0])


def put(session):
    session["n"] = session.get("n", 0) + 1


@pytest.mark.parametrize("value", [b"public", b"public, max-age=60", b"max-age=60,PUBLIC"])
def test_public_response(store, clock, caplog, value):
    """A response for shared caches begins no session and sets no cookie; a known session is saved all the same."""
    assert "set-cookie" not in answer(store, clock, put, value)
    assert "Cache-Control: public" in caplog.text
    assert store.count() == 0
    cookie = new_session(store, clock, n=1)
    headers = answer(store, clock, put, value, cookie=cookie)
    assert (headers["cache-control"], "set-cookie" in headers) == (value.decode(), False)
    assert next(iter(store.records())).data == {"n": 2}


def test_public_response_with_a_new_id(store, clock, caplog):
    """A changed id goes out, since its visitor would be logged out without it, and the response becomes private."""
    cookie = new_session(store, clock, n=1)
    headers = answer(store, clock, lambda session: session.cycle_id(), b"public, max-age=60", cookie=cookie)
    assert headers["cache-control"] == "private, max-age=60"
    assert "set-cookie" in headers
    assert "it is private now" in caplog.text


@pytest.mark.parametrize("value", [b"private", b"no-store", b"publication"])
def test_other_caching(store, clock, value):
    """Any other `Cache-Control` is left alone."""
    headers = answer(store, clock, put, value)
    assert (headers["cache-control"], "set-cookie" in headers) == (value.decode(), True)


@pytest.mark.parametrize(
    ("scheme", "host", "secure", "is_logged"),
    [
        ("http", "example.org", True, True),
        ("http", "192.0.2.1:8000", True, True),
        ("http", "[2001:db8::1]:80", True, True),
        ("http", "example.org", False, False),
        ("https", "example.org", True, False),
        ("http", "localhost:8000", True, False),
        ("http", "app.localhost", True, False),
        ("http", "127.0.0.1:8000", True, False),
        ("http", "[::1]:8000", True, False),
    ],
)
def test_plain_http(store, clock, caplog, scheme, host, secure, is_logged):
    """A cookie for HTTPS that goes out over plain HTTP is logged once, with the cure."""

    async def app(scope, receive, send):
        put(scope["session"])
        await send({"type": "http.response.start", "status": 200, "headers": []})

    middleware = SessionMiddleware(app, store, secure=secure, clock=clock)

    async def requesting(scope, receive, send):
        await middleware(scope | {"scheme": scheme, "headers": [(b"host", host.encode())]}, receive, send)

    for _ in range(2):
        run(requesting)
    assert caplog.text.count("secure=False") == is_logged


def test_cookie_outside_the_path_is_still_used(store, clock):
    """A client that sends the cookie outside its path has its session."""
    cookie = new_session(store, clock, n=1)

    async def app(scope, receive, send):
        put(scope["session"])
        await send({"type": "http.response.start", "status": 200, "headers": []})

    run(SessionMiddleware(app, store, path="/app", clock=clock), cookie=cookie)
    assert next(iter(store.records())).data == {"n": 2}
