"""Fixtures: a database in a separate folder, and a tree of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sled_sessions import sled


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "storage"


@pytest.fixture
def db(folder: Path) -> Iterator[sled.Db]:
    with sled.open(folder) as db:
        yield db


@pytest.fixture
def tree(db: sled.Db) -> sled.Tree:
    return db.open_tree("tree")
