"""Arguments of the wrong type, and a Quart application without the middleware."""

import asyncio
from datetime import datetime, timedelta
from types import SimpleNamespace

import pytest
from web.messages import ignoring

from sled_sessions import (
    AsyncCachingStore,
    AsyncStore,
    CachingStore,
    EncodeError,
    Id,
    MemoryStore,
    Record,
    Session,
    SessionMiddleware,
)
from sled_sessions.redis import RedisStore
from sled_sessions.session import SessionManager
from sled_sessions.web.quart import QuartSessions


@pytest.mark.parametrize(
    "make",
    [
        lambda app, store: SessionMiddleware(app, store, expiry=timedelta(hours=1)),
        lambda app, store: SessionMiddleware(app, store, touch_after=60),
        lambda app, store: SessionMiddleware(app, store, signed_key=64),
        lambda app, store: SessionMiddleware(app, MemoryStore),
        lambda app, store: SessionMiddleware(app, None),
        lambda app, store: SessionMiddleware(app, store, name=None),
        lambda app, store: SessionMiddleware(app, store, name=b"id"),
        lambda app, store: SessionMiddleware(app, store, path=None),
        lambda app, store: SessionManager(store, expiry=60),
        lambda app, store: SessionManager(None),
        lambda app, store: setattr(Session(lambda: None), "expiry", timedelta(hours=1)),
        lambda app, store: SessionMiddleware(app, store, clock=datetime.now),
        lambda app, store: SessionManager(store, clock=datetime.now),
        lambda app, store: CachingStore(store, "storage"),
        lambda app, store: AsyncCachingStore(store, AsyncStore(store), max_age=1),
        lambda app, store: RedisStore.from_url("redis://localhost", timeout=5),
        lambda app, store: Record(str(Id.new()), {}, store.clock()),
        lambda app, store: store.delete_expired(budget=5),
    ],
)
def test_arguments_of_the_wrong_type(store, make):
    """An argument of the wrong type raises at once, with an error that names the expected type."""
    with pytest.raises((TypeError, EncodeError), match=r"must be|is an Id"):
        make(ignoring, store)


def test_quart_without_the_middleware():
    """A request that bypasses the middleware raises an error that names it."""
    request = SimpleNamespace(scope={"type": "http"})
    with pytest.raises(RuntimeError, match="SessionMiddleware"):
        asyncio.run(QuartSessions().open_session(None, request))
