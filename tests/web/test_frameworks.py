"""Code written for a framework's own `request.session` runs unchanged."""

import json
import secrets
from datetime import timedelta

import httpx2
import pytest
from authlib.integrations.base_client import MismatchingStateError
from authlib.integrations.starlette_client import OAuth
from litestar import Litestar, Request, get, post
from litestar.middleware import DefineMiddleware
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse
from starlette.routing import Mount, Route
from web.apps import Transport, browser, cookie_value, set_cookie
from web.server import serving

from sled_sessions import Expiry, SessionMiddleware
from sled_sessions.stores.clock import utc_now


async def view(request):
    return JSONResponse({"session": request.session})


async def update(request):
    request.session.update(await request.json())
    return JSONResponse({"session": request.session})


async def clear(request):
    request.session.clear()
    return JSONResponse({"session": request.session})


ROUTES = [Route("/view", view), Route("/update", update, methods=["POST"]), Route("/clear", clear, methods=["POST"])]


def starlette_app(store, clock, **options):
    return Starlette(routes=ROUTES, middleware=[Middleware(SessionMiddleware, store=store, clock=clock, **options)])


def test_starlette_view_update_clear(any_store, clock):
    """Starlette's own session test: a session is a JSON response as it stands, keeps data, and can be cleared."""
    client = browser(starlette_app(any_store, clock, expiry=Expiry.on_inactivity(timedelta(days=14))))
    assert client.get("/view").json() == {"session": {}}
    response = client.post("/update", json={"some": "data"})
    assert response.json() == {"session": {"some": "data"}}
    assert set_cookie(response).endswith(f"; Max-Age={14 * 24 * 3600}")
    assert client.get("/view").json() == {"session": {"some": "data"}}
    assert client.post("/clear").json() == {"session": {}}
    assert client.get("/view").json() == {"session": {}}


def test_starlette_secure_cookies(store, clock):
    """A secure cookie is not sent over http, so each request there has an empty session."""
    app = starlette_app(store, clock)
    insecure = httpx2.Client(transport=Transport(app), base_url="http://testserver")
    insecure.post("/update", json={"some": "data"})
    assert insecure.get("/view").json() == {"session": {}}
    client = browser(app)
    client.post("/update", json={"some": "data"})
    assert client.get("/view").json() == {"session": {"some": "data"}}


def test_starlette_mounted_apps(store, clock):
    """A mounted application has its own session under its path."""
    app = Starlette(routes=[Mount("/second", app=starlette_app(store, clock, path="/second"))])
    client = browser(app)
    assert "; Path=/second" in set_cookie(client.post("/second/update", json={"some": "data"}))
    assert client.get("/second/view").json() == {"session": {"some": "data"}}


def test_starlette_expired_and_invalid_cookies(store, clock):
    """An expired or invalid cookie opens an empty session."""
    client = browser(starlette_app(store, clock, expiry=Expiry.on_inactivity(timedelta(seconds=1))))
    old = cookie_value(client.post("/update", json={"some": "data"}))
    clock.move(timedelta(seconds=2))
    for value in (old, "invalid"):
        assert client.get("/view", headers={"cookie": f"id={value}"}).json() == {"session": {}}


def test_background_task(store, clock):
    """Changes by a background task are saved although the response has been sent."""
    from starlette.background import BackgroundTask

    async def later(request):
        request.session["seen"] = "request"
        task = BackgroundTask(lambda: request.session.update(seen="task"))
        return PlainTextResponse("later", background=task)

    routes = [Route("/later", later), *ROUTES]
    client = browser(Starlette(routes=routes, middleware=[Middleware(SessionMiddleware, store=store, clock=clock)]))
    client.get("/later")
    assert client.get("/view").json() == {"session": {"seen": "task"}}


def test_litestar_set_and_clear(any_store, clock):
    """Litestar's `set_session` replaces the data, and `clear_session` ends the session."""

    @post("/set")
    async def put(request: Request) -> None:
        request.set_session({"user": "ada"})

    @post("/clear")
    async def clear(request: Request) -> None:
        request.clear_session()

    @get("/")
    async def look(request: Request) -> dict:
        return dict(request.session)

    app = Litestar(
        [put, clear, look],
        middleware=[DefineMiddleware(SessionMiddleware, store=any_store, clock=clock)],
        openapi_config=None,
        logging_config=None,
    )
    client = browser(app)
    client.post("/set")
    assert client.get("/").json() == {"user": "ada"}
    old = client.cookies["id"]
    assert cookie_value(client.post("/clear")) == ""
    assert client.get("/", headers={"cookie": f"id={old}"}).json() == {}


def oauth_provider():
    """A small OAuth 2 server that grants every request, and accepts each code once."""
    codes = {}

    async def authorize(request):
        code = secrets.token_urlsafe()
        codes[code] = "ada"
        asked = request.query_params
        return RedirectResponse(f"{asked['redirect_uri']}?code={code}&state={asked['state']}")

    async def token(request):
        form = dict(httpx2.QueryParams((await request.body()).decode()))
        return JSONResponse({"access_token": codes.pop(form["code"]), "token_type": "Bearer"})

    return Starlette(routes=[Route("/authorize", authorize), Route("/token", token, methods=["POST"])])


def oauth_client(provider, store):
    oauth = OAuth()
    oauth.register(
        "provider",
        client_id="id",
        client_secret="secret",
        authorize_url=f"http://{provider}/authorize",
        access_token_url=f"http://{provider}/token",
    )

    async def login(request):
        return await oauth.provider.authorize_redirect(request, str(request.url_for("callback")))

    async def callback(request):
        try:
            token = await oauth.provider.authorize_access_token(request)
        except MismatchingStateError:
            return PlainTextResponse("wrong state", 400)
        request.session["user"] = token["access_token"]
        return JSONResponse(dict(request.session))

    return Starlette(
        routes=[Route("/login", login), Route("/callback", callback)],
        middleware=[Middleware(SessionMiddleware, store=store, secure=False, same_site="lax")],
    )


def test_authlib(any_store, clock):
    """Authlib's OAuth state in the session lets a login succeed, and another visitor's callback fail."""
    clock.now = utc_now()
    with (
        serving(oauth_provider()) as provider,
        serving(oauth_client(provider, any_store)) as address,
        httpx2.Client(base_url=f"http://{address}", follow_redirects=True) as client,
        httpx2.Client(base_url=f"http://{address}") as stranger,
    ):
        assert client.get("/login").json() == {"user": "ada"}  # without the state, which Authlib has removed
        callback = str(client.get("/login", follow_redirects=False).next_request.url)
        answer = client.get(callback, follow_redirects=False).headers["location"]
        assert stranger.get(answer).status_code == 400


@pytest.mark.parametrize("encode", [json.dumps, lambda session: json.dumps({"session": session})])
def test_json_dumps(store, clock, encode):
    """The standard library's json encodes a session as a dict."""

    async def app(request):
        return PlainTextResponse(encode(request.session))

    client = browser(
        Starlette(
            routes=[Route("/", app), *ROUTES], middleware=[Middleware(SessionMiddleware, store=store, clock=clock)]
        )
    )
    client.post("/update", json={"a": [1, {"b": None}]})
    assert '{"a": [1, {"b": null}]}' in client.get("/").text
