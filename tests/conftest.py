"""What all tests share."""

import signal
from pathlib import Path

import pytest
from clock import FakeClock

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
