"""Every store there is, with a clock that tests can move."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from sled_sessions import CachingStore, Id, MemoryStore, Record, SledStore, SweepStrategy, sled


class FakeClock:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = datetime(2030, 1, 1, 12, 0, 0, 250_000, UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **delta: float) -> None:
        self.now += timedelta(**delta)


@contextmanager
def _memory(tmp_path, clock):
    yield MemoryStore(clock=clock)


@contextmanager
def _sled(tmp_path, clock, **options):
    with sled.open(tmp_path / "storage") as db:
        yield SledStore(db.open_tree("session"), clock=clock, **options)


@contextmanager
def _caching(tmp_path, clock):
    with _sled(tmp_path, clock) as store:
        yield CachingStore(MemoryStore(clock=clock), store)


STORES = {
    "memory": _memory,
    "sled-index": _sled,
    "sled-coarse-index": partial(_sled, resolution=timedelta(minutes=1)),
    "sled-full-scan": partial(_sled, strategy=SweepStrategy.FULL_SCAN),
    "caching": _caching,
}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=STORES.values(), ids=STORES)
def store(request, tmp_path, clock) -> Iterator[object]:
    """Each kind of store in turn, empty."""
    with request.param(tmp_path, clock) as store:
        yield store


@pytest.fixture
def db(tmp_path) -> Iterator[sled.Db]:
    with sled.open(tmp_path / "storage") as db:
        yield db


@pytest.fixture
def new_record(clock):
    """Makes a record that expires in so many seconds."""

    def make(seconds: float = 60, **data: object) -> Record:
        return Record(Id.new(), data, clock() + timedelta(seconds=seconds))

    return make
