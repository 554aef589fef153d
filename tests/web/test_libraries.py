"""Libraries that ask for `request.session`, unchanged, on this package's sessions."""

from urllib.parse import parse_qs, urlsplit

import httpx2
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route
from web.apps import browser

from sled_sessions import MemoryStore, SessionMiddleware


def data_of(store):
    """The data of the only session."""
    (record,) = store.records()
    return record.data


def app_of(store, *routes, middleware=()):
    """A Starlette application with these routes; `middleware` comes inside ours."""
    sessions = Middleware(SessionMiddleware, store=store)
    return Starlette(
        routes=[Route(path, endpoint, methods=["GET", "POST"]) for path, endpoint in routes],
        middleware=[sessions, *middleware],
    )


def test_sqladmin():
    """SQLAdmin's login is in the session; with the middleware in its backend, in one of this package."""
    from sqladmin import Admin
    from sqladmin.authentication import AuthenticationBackend
    from sqlalchemy import create_engine

    class Login(AuthenticationBackend):
        def __init__(self, store):
            self.middlewares = [Middleware(SessionMiddleware, store=store)]

        async def login(self, request):
            form = await request.form()
            request.session.cycle_id()
            request.session.update({"user_id": form["username"]})
            return True

        async def logout(self, request):
            request.session.clear()
            return True

        async def authenticate(self, request):
            return "user_id" in request.session

    store = MemoryStore()
    app = Starlette()
    Admin(app, create_engine("sqlite://"), authentication_backend=Login(store))
    visitor = browser(app)
    assert visitor.get("/admin/").status_code == 302
    assert visitor.post("/admin/login", data={"username": "ada", "password": "x"}).status_code == 302
    assert data_of(store)["user_id"] == "ada"
    assert visitor.get("/admin/").status_code == 200
    visitor.get("/admin/logout")
    assert store.count() == 0
    assert visitor.get("/admin/").status_code == 302


def test_starlette_wtf():
    """Starlette-WTF's token is in the session, and a form with it is accepted, any other refused."""
    from starlette_wtf import CSRFProtectMiddleware, StarletteForm, csrf_protect

    @csrf_protect
    async def page(request):
        form = await StarletteForm.from_formdata(request)
        return PlainTextResponse(form.csrf_token.current_token)

    store = MemoryStore()
    visitor = browser(app_of(store, ("/", page), middleware=[Middleware(CSRFProtectMiddleware, csrf_secret="s" * 32)]))
    token, referer = visitor.get("/").text, {"referer": "https://testserver/"}
    assert "csrf_token" in data_of(store)
    assert visitor.post("/", data={"csrf_token": token}, headers=referer).status_code == 200
    assert visitor.post("/", data={"csrf_token": token[::-1]}, headers=referer).status_code == 403


def test_starlette_csrf():
    """starlette-csrf, with a cookie of its own, protects requests that have a session's cookie."""
    from starlette_csrf import CSRFMiddleware

    async def page(request):
        request.session["visits"] = request.session.get("visits", 0) + 1
        return PlainTextResponse(str(request.session["visits"]))

    store = MemoryStore()
    csrf = Middleware(CSRFMiddleware, secret="secret", sensitive_cookies={"id"})
    visitor = browser(app_of(store, ("/", page), middleware=[csrf]))
    assert visitor.get("/").text == "1"
    assert visitor.post("/").status_code == 403
    assert visitor.post("/", headers={"x-csrftoken": visitor.cookies["csrftoken"]}).text == "2"


async def provider(scope, receive, send):
    """An OAuth provider's token endpoint."""
    response = JSONResponse({"access_token": "token", "token_type": "Bearer", "expires_in": 60})
    await response(scope, receive, send)


def test_authlib():
    """Authlib keeps an OAuth login's state in the session, and finds it when the visitor comes back."""
    from authlib.integrations.starlette_client import OAuth

    oauth = OAuth()
    oauth.register(
        "provider",
        client_id="app",
        client_secret="secret",
        authorize_url="https://provider/authorize",
        access_token_url="https://provider/token",
        client_kwargs={"transport": httpx2.ASGITransport(provider), "code_challenge_method": "S256"},
    )

    async def login(request):
        return await oauth.provider.authorize_redirect(request, "https://testserver/back")

    async def back(request):
        token = await oauth.provider.authorize_access_token(request)
        return PlainTextResponse(token["access_token"])

    store = MemoryStore()
    visitor = browser(app_of(store, ("/login", login), ("/back", back)))
    state = parse_qs(urlsplit(visitor.get("/login").headers["location"]).query)["state"][0]
    assert any(state in key for key in data_of(store))
    assert visitor.get(f"/back?code=1&state={state}").text == "token"
    assert store.count() == 0  # the state was all that the session had


def test_fastapi_sso():
    """fastapi-sso, which keeps its state in a cookie, logs in the session that the app has begun."""
    from fastapi import FastAPI, Request
    from fastapi_sso.sso.generic import create_provider

    document = {
        "authorization_endpoint": "https://provider/authorize",
        "token_endpoint": "https://provider/token",
        "userinfo_endpoint": "https://provider/user",
    }
    sso = create_provider(name="provider", discovery_document=document)("app", "secret", "https://testserver/back")
    store, app = MemoryStore(), FastAPI()
    app.add_middleware(SessionMiddleware, store=store)

    @app.get("/login")
    async def login(request: Request):
        request.session["cart"] = ["book"]
        async with sso:
            return await sso.get_login_redirect()

    @app.get("/back")
    async def back(request: Request, state: str):
        assert request.cookies["sso_state"] == state
        request.session.cycle_id()
        request.session["user"] = "ada"
        return "in"

    visitor = browser(app)
    state = parse_qs(urlsplit(visitor.get("/login").headers["location"]).query)["state"][0]
    assert visitor.get(f"/back?code=1&state={state}").status_code == 200
    assert data_of(store) == {"cart": ["book"], "user": "ada"}


def test_fasthtml(tmp_path, monkeypatch):
    """FastHTML takes the middleware by `sess_cls`, and its handlers' `sess` is the session."""
    from fasthtml.core import FastHTML

    monkeypatch.chdir(tmp_path)  # it writes a key for its own sessions
    store = MemoryStore()
    app = FastHTML(sess_cls=lambda app, **_: SessionMiddleware(app, store))

    @app.get("/")
    def home(sess):
        sess["visits"] = sess.get("visits", 0) + 1
        return f"visits: {sess['visits']}"

    visitor = browser(app)
    assert ["visits: 1" in visitor.get("/").text, "visits: 2" in visitor.get("/").text] == [True, True]
    assert data_of(store)["visits"] == 2
