"""An error in a request shows neither cookie nor session to a reporter that records local variables."""

import asyncio
from datetime import timedelta

import pytest
from frame_locals import ID, SECRET, leaks, raised
from web.messages import BODY, START

from sled_sessions import AsyncStore, BackendError, MemoryStore, Record, SessionMiddleware
from sled_sessions.web.sealing import Private, Signed

KEY = bytes(range(64))


class Unreachable(MemoryStore):
    """A store that cannot be read."""

    def load(self, id):
        raise BackendError("the store is away")


async def respond(send, headers=()):
    await send({**START, "headers": list(headers)})
    await send(BODY)


async def app_raises(session, scope, send):
    session["card"] = SECRET + SECRET
    raise ZeroDivisionError


async def not_json(session, scope, send):
    session["nested"].append({SECRET})
    await respond(send)


async def not_json_later(session, scope, send):
    await respond(send)
    session["nested"].append({SECRET})


async def disconnected(session, scope, send):
    session["card"] = SECRET + SECRET
    await respond(send)


async def new_id_and_disconnected(session, scope, send):
    session.cycle_id()
    await respond(send)


async def malformed_headers(session, scope, send):
    session["card"] = SECRET + SECRET
    await respond(send, [(b"vary", "Cookie")])


async def replaced(session, scope, send):
    session.load()
    scope["session"] = {"card": SECRET, "set": {SECRET}}
    await respond(send)


async def used(session, scope, send):
    session.load()
    await respond(send)


APPS = [app_raises, not_json, not_json_later, disconnected, new_id_and_disconnected, malformed_headers, replaced]
SEALS = {"plain": {}, "signed": {"signed_key": KEY}, "private": {"private_key": KEY}}


async def request(app, store, cookie, clock, options):
    async def call(scope, receive, send):
        await app(scope["session"], scope, send)

    async def send(message):
        raise ConnectionResetError

    async def receive():
        return {"type": "http.request"}

    scope = {"type": "http", "path": "/", "headers": [(b"cookie", f"a=b; id={cookie}".encode())]}
    await SessionMiddleware(call, store, secure=False, clock=clock, **options)(scope, receive, send)


@pytest.mark.parametrize("seal", SEALS)
@pytest.mark.parametrize("wrap", [lambda store: store, AsyncStore, lambda store: AsyncStore(store, in_thread=True)])
@pytest.mark.parametrize("app", [*APPS, used], ids=lambda app: app.__name__)
def test_requests_that_fail(app, wrap, seal, clock):
    """Whatever fails, no local variable shows the cookie, the id or the data."""
    store = (Unreachable if app is used else MemoryStore)(clock=clock)
    store.save(Record(ID, {"card": SECRET, "nested": [SECRET]}, clock() + timedelta(hours=1)))
    cookie = {"plain": str, "signed": Signed(KEY).seal, "private": Private(KEY, "id").seal}[seal](str(ID))
    error = raised(lambda: asyncio.run(request(app, wrap(store), cookie, clock, SEALS[seal])))
    new_ids = [str(record.id) for record in store.records()]
    assert leaks(error, cookie, *new_ids) == []
