"""A login: who you are lives in the session, and the session's id changes when that does.

What to look at:

- `log_in` calls `cycle_id`, so that an id that somebody planted in this browser before is worth nothing afterwards;
- `log_out` calls `flush`: the session is deleted on the server, and a copy of its cookie opens nothing any more;
- the private page is sent with `Cache-Control: no-store`, so that the browser's back button shows nothing after that;
- a session ends after `idle` without a request, and `at_most` after it began, however busy it was.
"""

import html
import secrets
from datetime import timedelta
from typing import Final
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from sled_sessions import AsyncSessionStore, Expiry, Session, SessionMiddleware, SessionStore

PASSWORDS: Final = {"ada": "lovelace"}
"""For an example. An application keeps salted hashes, made with scrypt or Argon2."""


async def index(request: Request) -> Response:
    """The login form, or the way to the private page."""
    if "user" in request.session:
        return RedirectResponse("/private", 303)
    return page(
        "Log in",
        '<form method="post" action="/login"><input name="user" placeholder="ada" autofocus>'
        '<input name="password" type="password" placeholder="lovelace"><button id="login">Log in</button></form>',
    )


async def log_in(request: Request) -> Response:
    """Check the password and begin anew under another id."""
    form = parse_qs((await request.body()).decode("utf-8", "replace"))
    user, password = (form.get(name, [""])[0] for name in ("user", "password"))
    expected = PASSWORDS.get(user, secrets.token_hex())
    if not secrets.compare_digest(expected.encode(), password.encode()):
        return page("Wrong name or password", '<a href="/">Again</a>', status=403)
    session: Session = request.scope["session"]  # `request.session`, which Starlette declares as a plain dict
    session.update(user=user, visits=0)
    session.cycle_id()
    return RedirectResponse("/private", 303)


async def private(request: Request) -> Response:
    """A page for those who are logged in."""
    session = request.session
    if "user" not in session:
        return RedirectResponse("/", 303)
    session["visits"] += 1
    return page(
        f"Hello {session['user']}",
        f'<p>Visit <span id="visits">{session["visits"]}</span></p>'
        '<form method="post" action="/rotate"><button id="rotate">New id</button></form>'
        '<form method="post" action="/logout"><button id="logout">Log out</button></form>',
    )


async def rotate(request: Request) -> Response:
    """Change the id and keep the data, as after each change of rights."""
    session: Session = request.scope["session"]
    session.cycle_id()
    return RedirectResponse("/private", 303)


async def log_out(request: Request) -> Response:
    """End the session."""
    session: Session = request.scope["session"]
    session.flush()
    return RedirectResponse("/", 303)


def page(title: str, body: str, *, status: int = 200) -> HTMLResponse:
    """A page that no cache keeps, the browser's own included."""
    text = f"<!doctype html><title>{html.escape(title)}</title><h1>{html.escape(title)}</h1>{body}"
    return HTMLResponse(text, status, {"cache-control": "no-store"})


def make_app(
    store: SessionStore | AsyncSessionStore,
    *,
    secure: bool = False,
    idle: timedelta = timedelta(minutes=15),
    at_most: timedelta = timedelta(hours=8),
) -> Starlette:
    """The application, on this store; `secure` for a server behind HTTPS."""
    sessions = Middleware(
        SessionMiddleware,
        store=store,
        name="__Host-id" if secure else "id",
        secure=secure,
        same_site="lax",  # a link from another site finds the visitor logged in; its forms do not
        expiry=Expiry.on_inactivity(idle, at_most=at_most),
    )
    return Starlette(
        routes=[
            Route("/", index),
            Route("/login", log_in, methods=["POST"]),
            Route("/private", private),
            Route("/rotate", rotate, methods=["POST"]),
            Route("/logout", log_out, methods=["POST"]),
        ],
        middleware=[sessions],
    )
