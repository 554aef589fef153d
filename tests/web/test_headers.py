"""The headers that the middleware adds to a response."""

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
    """A response with a session cookie is for one visitor; what the application says itself stands."""

    async def app(scope, receive, send):
        scope["session"]["n"] = 1
        await send({**START, "headers": given})

    (start,) = run(SessionMiddleware(app, store, clock=clock))
    headers = headers_of(start)
    del headers["set-cookie"]
    assert headers == expected
    assert len(start["headers"]) == 3


def test_the_messages_of_the_app_stay_its_own(store, as_store, clock):
    """An app that answers several visitors with one message does not send each the others' cookies."""
    headers = [(b"content-type", b"text/plain")]

    async def app(scope, receive, send):
        scope["session"]["n"] = 1
        await send({**START, "headers": headers})

    run(SessionMiddleware(app, as_store(store), clock=clock))
    assert headers == [(b"content-type", b"text/plain")]


def test_vary_beside_others(store, clock):
    """Cookie is added to what a response varies by already."""

    async def app(scope, receive, send):
        assert "n" not in scope["session"]
        await send({**START, "headers": [(b"vary", b"Accept-Encoding")]})

    (start,) = run(SessionMiddleware(app, store, clock=clock))
    assert start["headers"] == [(b"vary", b"Accept-Encoding"), (b"vary", b"Cookie")]
