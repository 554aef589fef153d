"""Servers that are forked after the store was opened, and servers that are told to stop under load."""

import os
import re
import signal
import subprocess
import sys
import threading
import time

import httpx
import pytest

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

COUNTER = [sys.executable, "-c", "from sled_sessions.cli import main; main()", "counter", "--port", "0"]


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
    """Stop the worker and the parent's wait; returns what they logged."""
    with parent.stdin:
        pass
    time.sleep(0.3)
    os.killpg(parent.pid, signal.SIGKILL)
    log = parent.stderr.read()
    parent.stderr.close()
    parent.stdout.close()
    parent.wait(10)
    return log


def test_a_store_opened_before_the_fork(tmp_path):
    """A worker answers 500 at once, its log says to open after the fork, and the parent's database is whole."""
    parent = forked(PRELOADING, tmp_path / "storage")
    try:
        url = f"http://127.0.0.1:{int(parent.stdout.readline())}"
        assert [httpx.get(url, timeout=10).status_code for _ in range(3)] == [500] * 3
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
        assert httpx.get(url, timeout=10).text == "Current count: 0"
    finally:
        end(parent)


def test_sigterm_under_load(tmp_path):
    """A server that gets SIGTERM under load ends by itself, and all that it answered is on the disk."""
    server = subprocess.Popen(
        [*COUNTER, "--path", tmp_path / "storage", "--expiry", "600"], stderr=subprocess.PIPE, text=True
    )
    answered: dict[str, int] = {}
    try:
        for line in server.stderr:
            if found := re.search(r"running on (http://\S+)", line):
                break
        else:
            pytest.fail("it did not start")
        drain = threading.Thread(target=server.stderr.read)
        drain.start()

        def visit():
            with httpx.Client(base_url=found[1], timeout=10) as visitor:
                while True:
                    try:
                        answer = visitor.get("/")
                    except httpx.TransportError:
                        return
                    if answer.status_code != 200:
                        return
                    answered[visitor.cookies["id"]] = int(answer.text.removeprefix("Current count: ")) + 1

        visitors = [threading.Thread(target=visit) for _ in range(8)]
        for visitor in visitors:
            visitor.start()
        time.sleep(0.7)
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) == 0
        for visitor in visitors:
            visitor.join(20)
        drain.join()
    finally:
        server.kill()
        server.wait()
        server.stderr.close()
    assert len(answered) == 8
    with SledStore.open(tmp_path / "storage") as store:
        for id, count in answered.items():
            assert store.load(Id.parse(id)).data["counter"] >= count
        assert store.verify_index()
