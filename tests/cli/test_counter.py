"""`sled-sessions counter` as a process."""

import re
import signal
import socket
import subprocess
import sys

import httpx2
import pytest
from command import COMMAND, COUNTER, counter

from sled_sessions import Id, SledStore


def _interrupt(process):
    """Send Ctrl-C; returns the exit code and the rest of the log."""
    process.send_signal(signal.SIGINT)
    log = process.stderr.read()
    return process.wait(30), log


def test_counts_visits(tmp_path):
    """Each visitor has a count, kept by a cookie like the Rust example's; after Ctrl-C it is on disk."""
    with counter("--path", tmp_path / "storage", "--expiry", "10m") as (process, url):
        with httpx2.Client(base_url=url) as visitor, httpx2.Client(base_url=url) as other:
            assert [visitor.get("/").text for _ in range(3)] == [f"Current count: {n}" for n in range(3)]
            answer = other.get("/")
            assert answer.text == "Current count: 0"
            assert re.fullmatch(
                r"id=[\w-]{22}; HttpOnly; SameSite=Lax; Path=/; Max-Age=600", answer.headers["set-cookie"]
            )
            id = Id.parse(visitor.cookies["id"])
        assert _interrupt(process)[0] == 0
    with SledStore.open(tmp_path / "storage") as store:
        assert store.load(id).data == {"counter": 3}
        assert store.verify_index().entries == 2


@pytest.mark.parametrize("strategy", ["index", "full-scan"])
def test_serves_a_database_of_the_rust_crate(rust_storage, strategy):
    """On a database that the Rust crate wrote, it continues an existing session and sweeps the expired ones."""
    with counter("--path", rust_storage, "--strategy", strategy, "--sweep-every", "0.05") as (process, url):
        answer = httpx2.get(url, headers={"cookie": "id=CpeUV8yM0VrqeuTnoipeAw"})
        assert answer.text == "Current count: 33"
        while "deleted 6 expired sessions" not in (line := process.stderr.readline()):
            assert line
        status, _ = _interrupt(process)
        assert status == 0
    with SledStore.open(rust_storage) as store:
        assert store.count() == 54


def test_sessions_expire(tmp_path):
    """A session that is idle for the given time expires, and the sweeper logs that it deleted it."""
    options = ("--path", tmp_path / "storage", "--expiry", "0.2", "--sweep-every", "0.1")
    with counter(*options) as (process, url), httpx2.Client(base_url=url) as visitor:
        visitor.get("/")
        while "deleted 1 expired sessions" not in (line := process.stderr.readline()):
            assert line
        assert visitor.get("/").text == "Current count: 0"


@pytest.mark.parametrize("command", [("counter",), ("example", "login")])
def test_port_in_use(tmp_path, command):
    """A port in use fails with uvicorn's message and code 1, since uvicorn's own code 3 has another meaning here."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        options = ("--path", tmp_path / "storage", "--port", str(taken.getsockname()[1]))
        run = subprocess.run([*COMMAND, *command, *options], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "address already in use" in run.stderr


@pytest.mark.parametrize("command", [("counter",), ("example", "login")])
@pytest.mark.parametrize("package", ["starlette", "uvicorn"])
def test_missing_packages(tmp_path, command, package):
    """Without the extra, one line says how to install it, and no database is created."""
    without = f"import sys; sys.modules[{package!r}] = None; from sled_sessions.cli import main; main()"
    run = subprocess.run(
        [sys.executable, "-c", without, *command, "--path", tmp_path / "storage"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (run.returncode, run.stderr.count("\n")) == (1, 1)
    assert package in run.stderr
    assert "pip install 'sled_sessions[web]'" in run.stderr
    assert not (tmp_path / "storage").exists()


@pytest.mark.parametrize("option", ["--expiry", "--sweep-every"])
def test_invalid_times(run, option):
    """A time of zero, or text that is not a time, is wrong usage."""
    for time in ("0", "0s", "soon"):
        assert run("counter", option, time).code == 2


@pytest.mark.parametrize("strategy", ["oldest-first", ""])
def test_unknown_strategies(strategy):
    """An unknown strategy is refused by a message that lists the known ones."""
    run = subprocess.run([*COUNTER, "--strategy", strategy], capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert "'index', 'full-scan'" in run.stderr
