"""Servers that fork after opening the store, and servers that are stopped under load."""

import os
import signal
import subprocess
import sys
import threading

import httpx2
from command import counter
from waiting import wait_until

from sled_sessions import Id, SledStore

# Like gunicorn --preload: the app, and with it the store, is created before the workers are forked.
PRELOADING = """
import os, socket, sys
from sled_sessions import SledStore
from sled_sessions.examples.counter import make_app
import uvicorn

store = SledStore.open(sys.argv[1])
app = make_app(store)
listener = socket.create_server(("127.0.0.1", 0))
if os.fork() == 0:
    uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off")).run(sockets=[listener])
    os._exit(0)
print(listener.getsockname()[1], flush=True)
sys.stdin.read()
store.close()
"""

OPENED_IN_WORKER = (
    PRELOADING.replace("store = SledStore.open(sys.argv[1])\napp = make_app(store)\n", "")
    .replace("    uvicorn.Server", "    app = make_app(SledStore.open(sys.argv[1]))\n    uvicorn.Server")
    .replace("store.close()", "")
)


def forked(code, folder):
    """Start a parent with a forked worker; the parent exits when its standard input is closed."""
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def end(parent):
    """Let the parent exit, kill the worker, and return their log."""
    with parent.stderr, parent.stdout:
        parent.stdin.close()
        try:
            parent.wait(10)
        finally:
            os.killpg(parent.pid, signal.SIGKILL)
        return parent.stderr.read()


def test_store_opened_before_the_fork(tmp_path):
    """The worker responds 500 at once, its log says to open after the fork, and the parent's database is intact."""
    parent = forked(PRELOADING, tmp_path / "storage")
    try:
        url = f"http://127.0.0.1:{int(parent.stdout.readline())}"
        assert [httpx2.get(url, timeout=10).status_code for _ in range(3)] == [500] * 3
    finally:
        log = end(parent)
    assert "ForkedProcess" in log
    assert "open the database after the fork" in log
    with SledStore.open(tmp_path / "storage") as store:
        assert store.verify_index()


def test_store_opened_in_the_worker(tmp_path):
    """A store that is opened in the worker works."""
    parent = forked(OPENED_IN_WORKER, tmp_path / "storage")
    try:
        url = f"http://127.0.0.1:{int(parent.stdout.readline())}"
        assert httpx2.get(url, timeout=10).text == "Current count: 0"
    finally:
        end(parent)


def test_sigterm_under_load(tmp_path):
    """A server that gets SIGTERM under load exits by itself, and every request it answered is on the disk."""
    answered: dict[str, int] = {}
    with counter("--path", tmp_path / "storage", "--expiry", "600") as (server, url):
        drain = threading.Thread(target=server.stderr.read)
        drain.start()

        def visit():
            with httpx2.Client(base_url=url, timeout=10) as visitor:
                while True:
                    try:
                        answer = visitor.get("/")
                    except httpx2.TransportError:
                        return
                    if answer.status_code != 200:
                        return
                    answered[visitor.cookies["id"]] = int(answer.text.removeprefix("Current count: ")) + 1

        visitors = [threading.Thread(target=visit) for _ in range(8)]
        for visitor in visitors:
            visitor.start()
        wait_until(lambda: len(answered) == 8 and min(answered.values()) > 20)
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) == 0
        for visitor in visitors:
            visitor.join(20)
        drain.join()
    assert len(answered) == 8
    with SledStore.open(tmp_path / "storage") as store:
        for id, count in answered.items():
            assert store.load(Id.parse(id)).data["counter"] >= count
        assert store.verify_index()
