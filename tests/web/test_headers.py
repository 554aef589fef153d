"""Vary and Cache-Control on a response with a session."""

import pytest
from web.messages import START, headers_of, run

from sled_sessions import (
    SessionMiddleware,
)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], {"vary": "Cookie", "cache-control": "private"}),
        ([(b"vary", b"Accept, Cookie")], {"vary": "Accept, Cookie", "cache-control": "private"}),
        ([(b"Vary", b"*")], {"vary": "*", "cache-control": "private"}),
        ([(b"cache-control", b"no-store")], {"vary": "Cookie", "cache-control": "no-store"}),
    ],
)
def test_caching_headers(store, clock, given, expected):
    """A response with a session cookie is private and varies by cookie; the application's own headers are kept."""

    async def app(scope, receive, send):
        scope["session"]["n"] = 1
        await send({**START, "headers": given})

    (start,) = run(SessionMiddleware(app, store, clock=clock))
    headers = headers_of(start)
    del headers["set-cookie"]
    assert headers == expected
    assert len(start["headers"]) == 3


def test_message_of_the_app_is_not_modified(store, as_store, clock):
    """The cookie is added to a copy, so an app that reuses a message sends no visitor another's cookie."""
    headers = [(b"content-type", b"text/plain")]

    async def app(scope, receive, send):
        scope["session"]["n"] = 1
        await send({**START, "headers": headers})

    run(SessionMiddleware(app, as_store(store), clock=clock))
    assert headers == [(b"content-type", b"text/plain")]


def test_vary_is_extended(store, clock):
    """Vary: Cookie is added to an existing Vary header."""

    async def app(scope, receive, send):
        assert "n" not in scope["session"]
        await send({**START, "headers": [(b"vary", b"Accept-Encoding")]})

    (start,) = run(SessionMiddleware(app, store, clock=clock))
    assert start["headers"] == [(b"vary", b"Accept-Encoding"), (b"vary", b"Cookie")]
