"""Servers that are forked after the store was opened, and servers that are told to stop under load."""

import os
import signal
import subprocess
import sys
import threading

import httpx2
from command import counter
from waiting import wait_until

from sled_sessions import Id, SledStore

# What gunicorn --preload does: the app, and with it the store, is made before the workers are forked.
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

LAZY = (
    PRELOADING.replace("store = SledStore.open(sys.argv[1])\napp = make_app(store)\n", "")
    .replace("    uvicorn.Server", "    app = make_app(SledStore.open(sys.argv[1]))\n    uvicorn.Server")
    .replace("store.close()", "")
)


def forked(code, folder):
    """A parent and its forked worker; the parent ends when its input does."""
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def end(parent):
    """Have the parent end by itself, and kill the worker, which does not; returns what they logged."""
    with parent.stderr, parent.stdout:
        parent.stdin.close()
        try:
            parent.wait(10)
        finally:
            os.killpg(parent.pid, signal.SIGKILL)
        return parent.stderr.read()


def test_a_store_opened_before_the_fork(tmp_path):
    """A worker answers 500 at once, its log says to open after the fork, and the parent's database is whole."""
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


def test_a_store_opened_in_the_worker(tmp_path):
    """The cure: opened in the worker, it works."""
    parent = forked(LAZY, tmp_path / "storage")
    try:
        url = f"http://127.0.0.1:{int(parent.stdout.readline())}"
        assert httpx2.get(url, timeout=10).text == "Current count: 0"
    finally:
        end(parent)


def test_sigterm_under_load(tmp_path):
    """A server that gets SIGTERM under load ends by itself, and all that it answered is on the disk."""
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
