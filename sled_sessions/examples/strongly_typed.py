"""Session data with types: a class describes it, and nothing else in the application knows the keys.

What to look at: `Guest.of` checks what it reads, since a session may be older than the program that reads it, and
`save` writes it back under one key. With msgspec that is two calls, and a wrong type is an error with a path in it.
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
    """What this application remembers of a visitor."""

    pageviews: int = 0
    first_seen: datetime = msgspec.field(default_factory=lambda: datetime.now(UTC))
    last_seen: datetime = msgspec.field(default_factory=lambda: datetime.now(UTC))

    @classmethod
    def of(cls, session: dict[str, Any]) -> Self:
        """The guest of a session, a new one if it has none.

        Raises:
            msgspec.ValidationError: Something else lies under the key.
        """
        return msgspec.convert(session.get("guest", {}), cls)

    def save(self, session: dict[str, Any]) -> None:
        """Put the guest into the session; `to_builtins` turns the datetimes into text, which JSON can hold."""
        session["guest"] = msgspec.to_builtins(self)

    def see(self) -> None:
        """Count one more page."""
        self.pageviews += 1
        self.last_seen = datetime.now(UTC)


async def index(request: Request) -> JSONResponse:
    """Count the page and show what is known."""
    guest = Guest.of(request.session)
    guest.see()
    guest.save(request.session)
    return JSONResponse(msgspec.to_builtins(guest))


def make_app(store: SessionStore | AsyncSessionStore) -> Starlette:
    """The application, on this store."""
    sessions = Middleware(SessionMiddleware, store=store, secure=False)
    return Starlette(routes=[Route("/", index)], middleware=[sessions])
