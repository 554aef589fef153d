"""Every kind of store, and a clock that tests can move."""

import sys
from collections.abc import Iterator
from datetime import timedelta

import pytest
from bridge import Blocking
from store_factories import MORE_STORES, SERVED_STORES, STORES

from sled_sessions import Id, MemoryStore, Record, sled

ALL_STORES = STORES | MORE_STORES | SERVED_STORES


@pytest.fixture(params=ALL_STORES.values(), ids=ALL_STORES)
def store(request, tmp_path, clock) -> Iterator[object]:
    """Each kind of store in turn, empty."""
    with request.param(tmp_path, clock) as store:
        yield store


@pytest.fixture
def sweeps(store) -> None:
    """Skips the test for stores without a sweep."""
    if isinstance(store, Blocking):
        pytest.skip("the server deletes expired sessions itself")


@pytest.fixture
def db(tmp_path) -> Iterator[sled.Db]:
    with sled.open(tmp_path / "storage") as db:
        yield db


@pytest.fixture
def tree(db) -> sled.Tree:
    return db.open_tree("session")


@pytest.fixture
def cache(clock) -> MemoryStore:
    return MemoryStore(clock=clock)


@pytest.fixture
def backing(clock) -> MemoryStore:
    return MemoryStore(clock=clock)


@pytest.fixture
def new_record(clock):
    """Makes a record that expires after `seconds`."""

    def make(seconds: float = 60, **data: object) -> Record:
        return Record(Id.new(), data, clock() + timedelta(seconds=seconds))

    return make


@pytest.fixture
def fast_switching() -> Iterator[None]:
    """Makes threads switch as often as possible."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)
