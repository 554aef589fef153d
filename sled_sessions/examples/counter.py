"""A visit counter: each request adds one, and the session expires after ten seconds without a request.

What to look at: `request.session` is a dict that survives between requests, and the store is a folder, with no server
to run. The application's lifespan runs a Sweeper, which deletes expired sessions from the disk.
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
    """Show how many requests this visitor has made before."""
    counter = request.session.get("counter", 0)
    request.session["counter"] = counter + 1
    return PlainTextResponse(f"Current count: {counter}")


def make_app(
    store: SessionStore, *, expiry: timedelta = timedelta(seconds=10), sweep_every: timedelta = timedelta(seconds=60)
) -> Starlette:
    """Create the application with its sessions in `store`."""

    @contextlib.asynccontextmanager
    async def sweeping(app: Starlette) -> AsyncIterator[None]:
        with Sweeper(store, sweep_every):
            yield

    sessions = Middleware(SessionMiddleware, store=store, secure=False, expiry=Expiry.on_inactivity(expiry))
    return Starlette(routes=[Route("/", count)], middleware=[sessions], lifespan=sweeping)
