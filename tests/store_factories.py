"""Every store there is: by name, a context manager that makes an empty one from a folder and a clock."""

from contextlib import contextmanager
from datetime import timedelta
from functools import partial

from sled_sessions import CachingStore, MemoryStore, SledStore, SweepStrategy, sled


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
