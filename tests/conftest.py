"""Fixtures for all tests."""

import signal
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import hypothesis
import pytest

from sled_sessions import cli, events
from sled_sessions.examples import rust_database
from sled_sessions.testing import MovableClock, session_clock, session_store  # noqa: F401 - fixtures

# Hypothesis would fail a test whose example takes long, which depends on what else the machine does.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

# A shell starts background jobs with SIGINT ignored, and their children inherit that, so tests of Ctrl-C would wait
# forever. A handler, unlike an ignored signal, is reset to the default in a child.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def events_level() -> Iterator[None]:
    """Restore the level of the events logger, which commands set when they run in this process."""
    level = events.logger.level
    yield
    events.logger.setLevel(level)


@pytest.fixture
def clock() -> MovableClock:
    """A clock of which tests know the time."""
    return MovableClock(datetime(2030, 1, 1, 12, 0, 0, 250_000, UTC))


@pytest.fixture
def rust_storage(tmp_path: Path) -> Path:
    """A copy of the database folder that the Rust crate wrote: 60 sessions, every tenth expired in 2020."""
    return rust_database.unpack(tmp_path)


class Result(NamedTuple):
    """A command's exit code and output."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(monkeypatch, capfd):
    """A function that runs `sled-sessions` with these arguments, as a shell would, but in this process."""

    def call(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["sled-sessions", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capfd.readouterr()
        return Result(ended.value.code or 0, out, err)

    return call
