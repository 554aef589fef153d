"""Typed session data: a class describes the data, and only this class uses the session's keys.

What to look at: `Guest.of` validates what it reads, since an older version of the program may have written it, and
`save` writes it back under one key. Each takes one call of msgspec, whose errors name the path to a wrong value.
"""

from datetime import UTC, datetime
from typing import Any, Self

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from sled_sessions import AsyncSessionStore, SessionMiddleware, SessionStore


class Guest(msgspec.Struct):
    """What this application remembers about a visitor."""

    pageviews: int = 0
    first_seen: datetime = msgspec.field(default_factory=lambda: datetime.now(UTC))
    last_seen: datetime = msgspec.field(default_factory=lambda: datetime.now(UTC))

    @classmethod
    def of(cls, session: dict[str, Any]) -> Self:
        """The guest stored in a session, or a new one.

        Raises:
            msgspec.ValidationError: The stored value is not a valid guest.
        """
        return msgspec.convert(session.get("guest", {}), cls)

    def save(self, session: dict[str, Any]) -> None:
        """Store the guest in the session. `to_builtins` turns datetimes into text, since sessions hold JSON."""
        session["guest"] = msgspec.to_builtins(self)

    def see(self) -> None:
        """Count a page view."""
        self.pageviews += 1
        self.last_seen = datetime.now(UTC)


async def index(request: Request) -> JSONResponse:
    """Count this page view and show the guest."""
    guest = Guest.of(request.session)
    guest.see()
    guest.save(request.session)
    return JSONResponse(msgspec.to_builtins(guest))


def make_app(store: SessionStore | AsyncSessionStore) -> Starlette:
    """Create the application with its sessions in `store`."""
    sessions = Middleware(SessionMiddleware, store=store, secure=False)
    return Starlette(routes=[Route("/", index)], middleware=[sessions])
