"""The reprs of stores and of the objects that wrap them."""

from datetime import timedelta

import pytest

from sled_sessions import AsyncStore, CachingStore, MemoryStore, Sweeper, observe
from sled_sessions.session import SessionManager


@pytest.mark.parametrize(
    ("make", "shown"),
    [
        (AsyncStore, "AsyncStore(MemoryStore(0 records))"),
        (lambda store: CachingStore(store, store), "CachingStore(MemoryStore(0 records), MemoryStore(0 records))"),
        (lambda store: observe(store, print), "observe(MemoryStore(0 records))"),
        (lambda store: observe(AsyncStore(store), print), "observe(AsyncStore(MemoryStore(0 records)))"),
        (lambda store: Sweeper(store, 60), f"Sweeper(MemoryStore(0 records), {timedelta(minutes=1)!r})"),
        (SessionManager, "SessionManager(MemoryStore(0 records))"),
    ],
)
def test_repr_contains_the_store(make, shown):
    """The repr of an object that wraps a store contains the repr of the store."""
    assert repr(make(MemoryStore())) == shown
