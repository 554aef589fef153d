"""One application, written for each framework.

A route is a function that takes the session and returns an answer: a text, (status, text), or (status, text, headers).
A route that is an answer itself does not use the session.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime
from typing import Any

import httpx2

from sled_sessions import Session, SessionMiddleware

Headers = dict[str, str]
Answer = str | tuple[int, str] | tuple[int, str, Headers]
Routes = Mapping[str, Callable[[Session], Answer] | tuple[int, str]]


def answer_of(route: Any, connection: Any) -> tuple[int, str, Headers]:
    answer = route(connection.session) if callable(route) else route
    status, text, *headers = answer if isinstance(answer, tuple) else (200, answer)
    return status, text, headers[0] if headers else {}


class Connection:
    """A request, as frameworks have it."""

    def __init__(self, scope: Any) -> None:
        self.scope = scope

    @property
    def session(self) -> Session:
        return self.scope["session"]


def asgi(routes: Routes, store: object, **options: Any) -> Any:
    async def app(scope, receive, send):
        status, text, headers = answer_of(routes[scope["path"]], Connection(scope))
        headers = {"content-type": "text/plain"} | headers
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": text.encode()})

    return SessionMiddleware(app, store, **options)


def starlette(routes: Routes, store: object, **options: Any) -> Any:
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    def endpoint(route):
        async def answer(request):
            status, text, headers = answer_of(route, request)
            return PlainTextResponse(text, status, headers)

        return answer

    return Starlette(
        routes=[Route(path, endpoint(route)) for path, route in routes.items()],
        middleware=[Middleware(SessionMiddleware, store=store, **options)],
    )


def fastapi(routes: Routes, store: object, **options: Any) -> Any:
    from fastapi import FastAPI, Request
    from fastapi.responses import PlainTextResponse

    def endpoint(route):
        def answer(request: Request):  # not async: FastAPI runs it on a thread
            status, text, headers = answer_of(route, request)
            return PlainTextResponse(text, status, headers)

        return answer

    app = FastAPI()
    for path, route in routes.items():
        app.add_api_route(path, endpoint(route))
    app.add_middleware(SessionMiddleware, store=store, **options)
    return app


def litestar(routes: Routes, store: object, **options: Any) -> Any:
    from litestar import Litestar, MediaType, Request, Response, get
    from litestar.middleware import DefineMiddleware

    def endpoint(path, route):
        @get(path, media_type=MediaType.TEXT)
        async def answer(request: Request) -> Response:
            status, text, headers = answer_of(route, request)
            return Response(text, status_code=status, headers=headers)

        return answer

    return Litestar(
        [endpoint(path, route) for path, route in routes.items()],
        middleware=[DefineMiddleware(SessionMiddleware, store=store, **options)],
        openapi_config=None,
        logging_config=None,
    )


def quart_(routes: Routes, store: object, **options: Any) -> Any:
    import quart

    from sled_sessions.web.quart import QuartSessions

    def endpoint(route):
        async def answer():
            status, text, headers = answer_of(route, quart)
            return quart.Response(text, status, headers)

        return answer

    app = quart.Quart("test")
    app.session_interface = QuartSessions()
    for path, route in routes.items():
        app.add_url_rule(path, path, endpoint(route))
    app.asgi_app = SessionMiddleware(app.asgi_app, store, **options)
    return app


FRAMEWORKS = {"asgi": asgi, "starlette": starlette, "fastapi": fastapi, "litestar": litestar, "quart": quart_}


class Transport(httpx2.BaseTransport):
    """Calls an ASGI application for a blocking client."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        async def exchange() -> httpx2.Response:
            transport = httpx2.ASGITransport(self.app, raise_app_exceptions=False)
            response = await transport.handle_async_request(request)
            return httpx2.Response(response.status_code, headers=response.headers, content=await response.aread())

        request.stream = _Body(request.read())
        return asyncio.run(exchange())


class _Body(httpx2.AsyncByteStream):
    def __init__(self, content: bytes) -> None:
        self.content = content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self.content


def browser(app: Any) -> httpx2.Client:
    """A client that keeps cookies like a browser, on https, so that it sends secure ones."""
    return httpx2.Client(transport=Transport(app), base_url="https://testserver")


def set_cookie(response: httpx2.Response) -> str:
    """A response's only Set-Cookie header."""
    (value,) = response.headers.get_list("set-cookie")
    return value


def cookie_value(response: httpx2.Response) -> str:
    return set_cookie(response).partition("=")[2].partition(";")[0]


def has_cookie(response: httpx2.Response) -> bool:
    return "set-cookie" in response.headers


def count(session: Session) -> str:
    """The README's counter."""
    counter = session.get("counter", 0)
    session["counter"] = counter + 1
    return f"Current count: {counter}"


def data_of(store: object, cookie: str, clock: Callable[[], datetime]) -> dict[str, Any]:
    """The session data that a request with this cookie sees."""
    seen: dict[str, Any] = {}

    def look(session: Session) -> str:
        seen.update(session)
        return "seen"

    browser(asgi({"/": look}, store, clock=clock)).get("/", headers={"cookie": f"id={cookie}"})
    return seen
