"""A database for commands to work on."""

import json

import pytest
from operate.databases import fill

from sled_sessions import SledStore


@pytest.fixture
def storage(tmp_path):
    """A database with 30 live sessions, one of which has a user and a secret, and 5 expired ones."""
    (record, *_) = fill(tmp_path / "storage", 30, expired=5)
    with SledStore.open(tmp_path / "storage") as store:
        record.data |= {"user": {"name": "ann"}, "csrf_token": "secret-value"}
        store.save(record)
    return tmp_path / "storage"


@pytest.fixture
def ann(storage):
    """The id of the session that has a user."""
    with SledStore.open(storage) as store:
        return next(str(record.id) for record in store.records() if "user" in record.data)


@pytest.fixture
def rows(run):
    """Calls a command that must succeed, and returns the objects that it prints as JSON Lines."""

    def call(*arguments):
        result = run(*arguments, "--json")
        assert result.code == 0, result.err
        return [json.loads(line) for line in result.out.splitlines()]

    return call
