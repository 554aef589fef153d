"""The example that runs as a separate program."""

import socket
import subprocess
import sys

import pytest


@pytest.mark.parametrize("url", ["redis://127.0.0.1:{}", "http://127.0.0.1:{}"])
def test_shared_example_without_a_server(url):
    """Without a server the example fails with one line, and starts no process."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    run = subprocess.run(
        [sys.executable, "-m", "sled_sessions.examples.shared", url.format(port)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (run.returncode, run.stdout, run.stderr.count("\n")) == (1, "", 1)
    assert "no Valkey or Redis server answers" in run.stderr
