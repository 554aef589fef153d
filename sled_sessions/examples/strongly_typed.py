"""Typed session data: a class describes the data, and only this class uses the session's key `guest`.

What to look at: `get_as` validates what it reads, since an older version of the program may have written it, and its
errors name the path to a wrong value; `set_as` writes it back. They also take attrs classes, dataclasses and
Pydantic models.
"""

from datetime import UTC, datetime

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from sled_sessions import AsyncSessionStore, SessionMiddleware, SessionStore, session_of


class Guest(msgspec.Struct):
    """What this application remembers about a visitor."""

    pageviews: int = 0
    first_seen: datetime = msgspec.field(default_factory=lambda: datetime.now(UTC))
    last_seen: datetime = msgspec.field(default_factory=lambda: datetime.now(UTC))


async def index(request: Request) -> JSONResponse:
    """Count this page view and show the guest."""
    session = session_of(request)
    guest = session.get_as("guest", Guest) or Guest()
    guest.pageviews += 1
    guest.last_seen = datetime.now(UTC)
    session.set_as("guest", guest)
    return JSONResponse(session["guest"])


def make_app(store: SessionStore | AsyncSessionStore) -> Starlette:
    """Create the application with its sessions in `store`."""
    sessions = Middleware(SessionMiddleware, store=store, secure=False)
    return Starlette(routes=[Route("/", index)], middleware=[sessions])
