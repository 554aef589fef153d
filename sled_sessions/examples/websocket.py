"""A WebSocket that numbers a visitor's lines, continuing after a reload.

What to look at: the handshake is an HTTP request with the cookie, so the WebSocket has the same session as the pages.
The session is loaded at the handshake, and saved when the socket is accepted and when it closes. Saving merges changes
key by key, so that those of concurrent requests are kept. Open the page, send some lines, and reload.

A page of another site can open a WebSocket to this server as well, but `same_site="lax"`, the default, keeps the
cookie and thus the session from it.
"""

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from sled_sessions import AsyncSessionStore, SessionMiddleware, SessionStore

PAGE = """<!doctype html><title>Echo</title>
<p>Lines sent earlier in this session: <span id="lines">{lines}</span></p>
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
    """Show the page. It stores the session, so that the WebSocket's handshake has its cookie."""
    lines = request.session.setdefault("lines", 0)
    return HTMLResponse(PAGE.format(lines=lines))


async def echo(websocket: WebSocket) -> None:
    """Send each line back with its number in this session."""
    await websocket.accept()
    session = websocket.session
    async for line in websocket.iter_text():
        session["lines"] = session.get("lines", 0) + 1
        await websocket.send_text(f"{session['lines']}: {line}")


def make_app(store: SessionStore | AsyncSessionStore) -> Starlette:
    """Create the application with its sessions in `store`."""
    sessions = Middleware(SessionMiddleware, store=store, secure=False)
    return Starlette(routes=[Route("/", index), WebSocketRoute("/echo", echo)], middleware=[sessions])
