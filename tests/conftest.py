"""What all tests share."""

from pathlib import Path

import pytest

from sled_sessions.examples import rust_database


@pytest.fixture
def rust_storage(tmp_path: Path) -> Path:
    """A copy of the database folder that the Rust crate wrote: 60 sessions, every tenth expired in 2020."""
    return rust_database.unpack(tmp_path)
