"""A login: the session holds the user's name, and gets a new id when the user logs in.

What to look at:

- `log_in` calls `cycle_id`, so that an attacker who planted an id in this browser before cannot use it afterwards;
- `log_out` calls `flush`, which deletes the session on the server, so that a copied cookie is worthless;
- pages have `Cache-Control: no-store`, so that the browser's back button shows nothing after the log-out;
- a session expires after `idle` without a request, and in any case `at_most` after it began.
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

from sled_sessions import AsyncSessionStore, Expiry, SessionMiddleware, SessionStore, session_of

PASSWORDS: Final = {"ada": "lovelace"}
"""For this example only. A real application stores salted hashes, made with scrypt or Argon2."""


async def index(request: Request) -> Response:
    """Show the login form, or redirect a logged-in user to the private page."""
    if "user" in request.session:
        return RedirectResponse("/private", 303)
    return page(
        "Log in",
        '<form method="post" action="/login"><input name="user" placeholder="ada" autofocus>'
        '<input name="password" type="password" placeholder="lovelace"><button id="login">Log in</button></form>',
    )


async def log_in(request: Request) -> Response:
    """Check the password, and give the session a new id."""
    form = parse_qs((await request.body()).decode("utf-8", "replace"))
    user, password = (form.get(name, [""])[0] for name in ("user", "password"))
    expected = PASSWORDS.get(user, secrets.token_hex())
    if not secrets.compare_digest(expected.encode(), password.encode()):
        return page("Wrong name or password", '<a href="/">Again</a>', status=403)
    session = session_of(request)  # `request.session`, which Starlette declares as a plain dict
    session.update(user=user, visits=0)
    session.cycle_id()
    return RedirectResponse("/private", 303)


async def private(request: Request) -> Response:
    """Show a page to logged-in users only."""
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
    """Change the id and keep the data, as an application should after any change of rights."""
    session = session_of(request)
    session.cycle_id()
    return RedirectResponse("/private", 303)


async def log_out(request: Request) -> Response:
    """End the session."""
    session = session_of(request)
    session.flush()
    return RedirectResponse("/", 303)


def page(title: str, body: str, *, status: int = 200) -> HTMLResponse:
    """Render a page that no cache stores, including the browser's."""
    text = f"<!doctype html><title>{html.escape(title)}</title><h1>{html.escape(title)}</h1>{body}"
    return HTMLResponse(text, status, {"cache-control": "no-store"})


def make_app(
    store: SessionStore | AsyncSessionStore,
    *,
    secure: bool = False,
    idle: timedelta = timedelta(minutes=15),
    at_most: timedelta = timedelta(hours=8),
) -> Starlette:
    """Create the application with its sessions in `store`; `secure` is for a server behind HTTPS."""
    sessions = Middleware(
        SessionMiddleware,
        store=store,
        name="__Host-id" if secure else "id",
        secure=secure,
        same_site="lax",  # stay logged in when following a link from another site, but not for its forms
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
