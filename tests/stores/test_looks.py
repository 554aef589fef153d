"""What stores, and what runs on them, look like in a log or a notebook."""

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
def test_what_holds_a_store_shows_it(make, shown):
    """Whatever is made of a store names it."""
    assert repr(make(MemoryStore())) == shown
