"""What all tests share."""

import tarfile
from pathlib import Path

import pytest
from reference import DATA


@pytest.fixture
def rust_storage(tmp_path: Path) -> Path:
    """A copy of the database folder that the Rust crate wrote: 60 sessions, every tenth expired in 2020."""
    with tarfile.open(DATA / "storage.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "storage"
