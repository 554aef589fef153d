"""Other processes for tests; none outlives its test."""

import fcntl
import os
import select
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SECONDS = 20


def python(code: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run ``code`` in a fresh interpreter and return what it printed."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)


@contextmanager
def running(code: str, *arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    """Run ``code``, which prints "ready" and then waits, in a fresh interpreter."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


@contextmanager
def held_briefly(path: Path) -> Iterator[None]:
    """Hold the lock of this file or folder for a moment, like a process that is being started."""
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    release = threading.Timer(0.02, os.close, [descriptor])
    release.start()
    yield
    release.join()


def in_fork(work: Callable[[], object]) -> str:
    """Run ``work`` in a forked child; return the repr of its result, or the name of its exception."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns about forks with threads
        child = os.fork()
    if child == 0:
        try:
            answer = repr(work())
        except BaseException as error:  # noqa: BLE001 - reported to the parent
            answer = type(error).__name__
        os.write(writer, answer.encode())
        os._exit(0)
    os.close(writer)
    try:
        ready, _, _ = select.select([reader], [], [], SECONDS)
        if not ready:
            os.kill(child, signal.SIGKILL)
            pytest.fail("the forked child hangs")
        return os.read(reader, 65536).decode()
    finally:
        os.close(reader)
        os.waitpid(child, 0)


@contextmanager
def living_child(first: Callable[[], object] = lambda: None) -> Iterator[None]:
    """While the block runs, keep a forked child alive that has called ``first``; it must end normally."""
    reader, writer = os.pipe()
    forked, tell_forked = os.pipe()

    def live_on() -> bytes:
        first()
        os.write(tell_forked, b"x")
        return os.read(reader, 1)

    answer: list[str] = []
    waiting = threading.Thread(target=lambda: answer.append(in_fork(live_on)))
    waiting.start()
    os.read(forked, 1)
    try:
        yield
    finally:
        os.write(writer, b"x")
        waiting.join(20)
        for descriptor in (reader, writer, forked, tell_forked):
            os.close(descriptor)
    assert answer == ["b'x'"]
