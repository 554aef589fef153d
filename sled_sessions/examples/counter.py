"""A visitor's counter: each request adds one, and ten seconds without a request end the session.

What to look at: the session is a dict that survives between requests, and the store is a folder of files that needs no
server. The lifespan runs the Sweeper, which deletes what has expired from the disk.
"""

import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from sled_sessions import Expiry, SessionMiddleware, SessionStore, Sweeper


async def count(request: Request) -> PlainTextResponse:
    """Answer with how often this visitor has been here before."""
    counter = request.session.get("counter", 0)
    request.session["counter"] = counter + 1
    return PlainTextResponse(f"Current count: {counter}")


def make_app(
    store: SessionStore, *, expiry: timedelta = timedelta(seconds=10), sweep_every: timedelta = timedelta(seconds=60)
) -> Starlette:
    """The application, on this store."""

    @contextlib.asynccontextmanager
    async def sweeping(app: Starlette) -> AsyncIterator[None]:
        with Sweeper(store, sweep_every):
            yield

    sessions = Middleware(SessionMiddleware, store=store, secure=False, expiry=Expiry.on_inactivity(expiry))
    return Starlette(routes=[Route("/", count)], middleware=[sessions], lifespan=sweeping)
