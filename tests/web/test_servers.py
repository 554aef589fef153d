"""Development servers that import the app in more than one process, and load it again when its file changes.

A module-level `SledStore.at` opens nothing when it is imported, so the process that serves has the folder to itself.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest
from servers import free_port
from waiting import wait_until

from sled_sessions import SledStore

PRELUDE = """
import sys
from contextlib import asynccontextmanager
from datetime import timedelta
from sled_sessions import SessionMiddleware, SledStore, Sweeper

VERSION = 1
store = SledStore.at("storage")

@asynccontextmanager
async def lifespan(app):
    with store, Sweeper(store, timedelta(minutes=1)):
        yield

def counted(session):
    session["n"] = session.get("n", 0) + 1
    return session["n"]
"""

FASTAPI = """
from fastapi import FastAPI, Request

app = FastAPI(lifespan=lifespan)
app.add_middleware(SessionMiddleware, store=store)
app.get("/version")(lambda: VERSION)

@app.get("/")
def count(request: Request) -> int:
    return counted(request.session)

if __name__ == "__main__":
    import uvicorn
    uvicorn.run("app:app", port=int(sys.argv[1]), reload=True)
"""

LITESTAR = """
from litestar import Litestar, Request, get
from litestar.middleware import DefineMiddleware

@get("/version")
async def version() -> int:
    return VERSION

@get("/")
async def count(request: Request) -> int:
    return counted(request.session)

app = Litestar([count, version], lifespan=[lifespan], middleware=[DefineMiddleware(SessionMiddleware, store=store)])
"""

pytestmark = pytest.mark.slow

COMMANDS = {
    "fastapi dev": (FASTAPI, ["-m", "fastapi", "dev", "app.py", "--port", "{port}"]),
    "uvicorn.run": (FASTAPI, ["app.py", "{port}"]),
    "hypercorn": (FASTAPI, ["-m", "hypercorn", "--reload", "--bind", "127.0.0.1:{port}", "app:app"]),
    "litestar": (LITESTAR, ["-m", "litestar", "--app", "app:app", "run", "--reload", "--port", "{port}"]),
}


class Server:
    """A server process in a folder of its own, with the visitor's cookie."""

    def __init__(self, folder: Path, app: str, command: list[str]) -> None:
        self.folder, self.source = folder, PRELUDE + app
        self.port = free_port()
        self.cookie = ""
        folder.mkdir()
        (folder / "app.py").write_text(self.source)
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *(word.format(port=self.port) for word in command)],
                cwd=folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def get(self, path: str) -> int:
        headers = {"cookie": self.cookie}
        answer = httpx2.get(f"http://127.0.0.1:{self.port}{path}", headers=headers, timeout=10).raise_for_status()
        if "set-cookie" in answer.headers:
            self.cookie = answer.headers["set-cookie"].partition(";")[0]
        return int(answer.text)

    def wait_for(self, version: int) -> None:
        def is_served() -> bool:
            assert self.process.poll() is None, self.log()
            return self.get("/version") == version

        wait_until(is_served, seconds=60, ignoring=httpx2.HTTPError, failure=self.log)

    def edit(self, version: int) -> None:
        (self.folder / "app.py").write_text(self.source.replace("VERSION = 1", f"VERSION = {version}"))

    def run(self, *arguments: str) -> str:
        """What a Python command in the folder prints."""
        command = [sys.executable, *arguments]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=60, check=True).stdout

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def stop(self) -> None:
        """Stop it as Ctrl-C in a terminal does."""
        os.killpg(self.process.pid, signal.SIGINT)
        self.process.wait(30)

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)


@pytest.fixture(scope="module")
def servers(tmp_path_factory) -> Iterator[dict[str, Server]]:
    """All servers, which start at the same time."""
    folder = tmp_path_factory.mktemp("servers")
    started: dict[str, Server] = {}
    try:
        for name, (app, command) in COMMANDS.items():
            started[name] = Server(folder / name, app, command)
        yield started
    finally:
        for server in started.values():
            server.kill()


@pytest.mark.parametrize("name", COMMANDS)
def test_reloads(servers, name):
    """The server serves; while it does, the app can be imported; after a reload the visitor's count goes on."""
    server = servers[name]
    server.wait_for(1)
    assert [server.get("/"), server.get("/")] == [1, 2]
    assert server.run("-c", "import app; print(app.store.is_new)") == "True\n"
    if name == "litestar":
        assert "/version" in server.run("-m", "litestar", "--app", "app:app", "routes")
    server.edit(2)
    server.wait_for(2)
    assert [server.get("/"), server.get("/")] == [3, 4]
    server.stop()
    assert "Traceback" not in server.log(), server.log()
    with SledStore.open(server.folder / "storage") as store:
        assert [record.data for record in store.records()] == [{"n": 4}]
