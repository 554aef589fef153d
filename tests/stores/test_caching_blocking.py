"""CachingStore: threads, and loads during a sweep."""

import threading
from datetime import timedelta

import pytest
from stores.caches import USES, Gated

from sled_sessions import AsyncStore, CachingStore, MemoryStore


def test_asyncio_stores_are_refused(cache, backing):
    """CachingStore refuses asyncio stores, and the error names the class that takes them."""
    for stores in ((cache, AsyncStore(backing)), (AsyncStore(cache), backing)):
        with pytest.raises(TypeError, match="AsyncStore is asynchronous: use an AsyncCachingStore"):
            CachingStore(*stores)


def test_sweep_as_of_a_later_moment(cache, backing, clock, new_record):
    """A sweep as of a later moment leaves no deleted session in the cache, even one loaded during the sweep."""
    store = CachingStore(cache, backing)
    record, other = store.create(new_record(10)), store.create(new_record(20))
    later = clock() + timedelta(seconds=30)
    report = store.delete_expired(now=later, on_expired=lambda record: store.load(other.id))
    assert report.deleted == 2
    assert [store.load(each.id) for each in (record, other)] == [None, None]


@pytest.mark.parametrize("use", USES)
def test_one_thread_at_a_time(cache, backing, new_record, use):
    """A thread that writes a session, or loads it from the store, waits while another thread writes it."""
    gated, record = Gated(backing), new_record()
    store = CachingStore(cache, gated)
    writing = threading.Thread(target=store.delete, args=(record.id,))
    waiting = threading.Thread(target=USES[use], args=(store, record))
    writing.start()
    gated.wait_for_call()
    waiting.start()
    waiting.join(0.05)
    assert gated.calls == ["delete"]
    gated.gate.set()
    writing.join()
    waiting.join()
    assert gated.calls == ["delete", use]


def test_slow_load_does_not_restore_a_deleted_session(cache, backing, new_record):
    """A load that read the store before the session was deleted does not cache it afterwards."""
    store = CachingStore(cache, backing)
    record = new_record()
    backing.save(record)
    has_read, go_on = threading.Event(), threading.Event()

    def slow_load(id):
        found = MemoryStore.load(backing, id)
        has_read.set()
        assert go_on.wait(20)
        return found

    backing.load = slow_load
    loading = threading.Thread(target=store.load, args=(record.id,))
    loading.start()
    assert has_read.wait(20)
    deleting = threading.Thread(target=store.delete, args=(record.id,))
    deleting.start()
    deleting.join(0.1)
    go_on.set()
    loading.join()
    deleting.join()
    del backing.load
    assert store.load(record.id) is None
