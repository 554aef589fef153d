"""`session_of`: the session of any framework's connection, with its type."""

import subprocess
import sys
import textwrap
from types import ModuleType

import pytest
from frame_locals import ID, SECRET, leaks, raised
from web import apps
from web.apps import FRAMEWORKS, browser, count

from sled_sessions import SessionError, session_of

FASTAPI_APP = """
from typing import Annotated

from fastapi import Depends, FastAPI, WebSocket

from sled_sessions import MemoryStore, Session, SessionMiddleware, session_of

app = FastAPI()
app.add_middleware(SessionMiddleware, store=MemoryStore(), secure=False)

@app.get("/")
def read(session: Annotated[Session, Depends(session_of)]) -> int:
    session["visits"] = session.get("visits", 0) + 1
    return session["visits"]

@app.get("/default")
async def read_default(session: Session = Depends(session_of)) -> int:
    return session["visits"]

@app.websocket("/socket")
async def socket(socket: WebSocket, session: Annotated[Session, Depends(session_of)]) -> None:
    await socket.accept()
    await socket.send_json(session["visits"])
    await socket.close()
"""


@pytest.mark.parametrize("future", ["", "from __future__ import annotations\n"], ids=["evaluated", "postponed"])
def test_fastapi_dependency(monkeypatch, future):
    """`Depends(session_of)` gives requests and WebSockets their session, and is not taken for a query parameter."""
    from starlette.testclient import TestClient

    module = ModuleType("app_with_session_of")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(future + FASTAPI_APP, "app.py", "exec", dont_inherit=True), vars(module))
    client = TestClient(module.app)
    assert [client.get("/").json(), client.get("/").json(), client.get("/default").json()] == [1, 2, 2]
    with client.websocket_connect("/socket") as socket:
        assert socket.receive_json() == 2
    assert all(
        not operation["get"].get("parameters") for operation in client.get("/openapi.json").json()["paths"].values()
    )


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_every_framework(framework, store, monkeypatch):
    """The session of a framework's own request, or of the scope, is the middleware's `Session`."""

    def answer_of(route, connection):
        return 200, route(session_of(connection.request if framework == "quart" else connection)), {}

    monkeypatch.setattr(apps, "answer_of", answer_of)
    client = browser(FRAMEWORKS[framework]({"/": count}, store))
    assert [client.get("/").text for _ in range(2)] == ["Current count: 0", "Current count: 1"]


def test_without_the_middleware():
    """Without a session in the scope the error names the middleware, and with another one its class."""
    with pytest.raises(SessionError, match=r"sled_sessions\.SessionMiddleware"):
        session_of({"type": "http"})
    with pytest.raises(SessionError, match=r"builtins\.dict.*another session middleware"):
        session_of({"type": "http", "session": {"user": "secret"}})
    scope = {"type": "http", "headers": [(b"cookie", str(ID).encode())], "session": {"card": SECRET}}
    assert leaks(raised(lambda: session_of(scope))) == []
    for wrong in (None, 1, object()):
        with pytest.raises(TypeError, match="ASGI scope"):
            session_of(wrong)


def test_without_starlette():
    """The name works where Starlette is not installed, and no other name loads Starlette."""
    program = """
        import sys
        import sled_sessions
        sled_sessions.SessionMiddleware, sled_sessions.SledStore
        assert not [name for name in sys.modules if name.startswith("starlette")]
        sys.modules["starlette"] = sys.modules["starlette.requests"] = None
        session = sled_sessions.Session(lambda: None)
        assert sled_sessions.session_of({"type": "http", "session": session}) is session
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True)
