"""A chat line over a WebSocket that knows its visitor.

What to look at: the handshake is an HTTP request, so the cookie comes with it, and the WebSocket sees the same session
as the pages. It is loaded at the handshake and saved when the socket is accepted and when it closes; what other
requests change meanwhile stays, key by key. Open the page, send lines, and reload.

A page of another site can open a WebSocket here, too: the `same_site="strict"` of the cookie keeps the visitor's
session out of it.
"""

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from sled_sessions import AsyncSessionStore, SessionMiddleware, SessionStore

PAGE = """<!doctype html><title>Echo</title>
<p>Lines sent in this session before: <span id="lines">{lines}</span></p>
<form><input name="line" autofocus><button>Send</button></form><ul></ul>
<script>
  const socket = new WebSocket(location.href.replace(/^http/, "ws") + "echo");
  socket.onmessage = (event) => {{
    document.querySelector("ul").append(Object.assign(document.createElement("li"), {{ textContent: event.data }}));
  }};
  document.querySelector("form").onsubmit = (event) => {{
    event.preventDefault();
    socket.send(event.target.line.value);
    event.target.reset();
  }};
</script>"""


async def index(request: Request) -> HTMLResponse:
    """The page; it begins the session, so that the WebSocket finds one."""
    lines = request.session.setdefault("lines", 0)
    return HTMLResponse(PAGE.format(lines=lines))


async def echo(websocket: WebSocket) -> None:
    """Number the lines that come in, going on where the session's last WebSocket ended."""
    await websocket.accept()
    session = websocket.session
    async for line in websocket.iter_text():
        session["lines"] = session.get("lines", 0) + 1
        await websocket.send_text(f"{session['lines']}: {line}")


def make_app(store: SessionStore | AsyncSessionStore) -> Starlette:
    """The application, on this store."""
    sessions = Middleware(SessionMiddleware, store=store, secure=False)
    return Starlette(routes=[Route("/", index), WebSocketRoute("/echo", echo)], middleware=[sessions])
