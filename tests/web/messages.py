"""Calls ASGI applications directly, without a framework or a server."""

import asyncio

from web.apps import asgi, browser, cookie_value

START = {"type": "http.response.start", "status": 200, "headers": ()}
BODY = {"type": "http.response.body", "body": b""}


def run(app, *, cookie: str | None = None, kind: str = "http") -> list[dict]:
    """The messages that an application sends in response to one request."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    headers = [] if cookie is None else [(b"cookie", f"id={cookie}".encode())]
    asyncio.run(app({"type": kind, "path": "/", "headers": headers}, receive, send))
    return sent


async def ignoring(scope, receive, send):
    """An application that does not use its session."""
    await send(START)
    await send(BODY)


def headers_of(message: dict) -> dict[str, str]:
    """The headers of a message that starts a response, with names in lower case."""
    return {name.decode().lower(): value.decode() for name, value in message["headers"]}


def new_session(store, clock, **data) -> str:
    """Store a session with this data, and return its cookie's value."""

    def begin(session):
        session.update(data)
        return "begun"

    return cookie_value(browser(asgi({"/": begin}, store, clock=clock)).get("/"))
