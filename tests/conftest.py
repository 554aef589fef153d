"""What all tests share."""

import signal
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from clock import FakeClock

from sled_sessions import cli
from sled_sessions.examples import rust_database

# A shell starts what runs in its background with interrupts ignored, and children inherit that: tests of Ctrl-C would
# wait for ever. A handler is reset in a child, so that there an interrupt interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def clock() -> FakeClock:
    """Time, in the hands of the test."""
    return FakeClock()


@pytest.fixture
def rust_storage(tmp_path: Path) -> Path:
    """A copy of the database folder that the Rust crate wrote: 60 sessions, every tenth expired in 2020."""
    return rust_database.unpack(tmp_path)


class Result(NamedTuple):
    """What a command printed and returned."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(monkeypatch, capfd):
    """Calls `sled-sessions` with these arguments, as the shell does but in this process."""

    def call(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["sled-sessions", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capfd.readouterr()
        return Result(ended.value.code or 0, out, err)

    return call
