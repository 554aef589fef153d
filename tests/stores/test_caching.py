"""CachingStore and AsyncCachingStore beyond the protocol: how they use their two stores."""

import asyncio
import logging
from datetime import timedelta
from functools import partial

import attrs
import pytest
from stores.caches import USES, BlockingCalls

from sled_sessions import (
    AsyncCachingStore,
    AsyncStore,
    BackendError,
    CachingStore,
    DecodeError,
    Id,
    MemoryStore,
    SledStore,
    SweepReport,
    SweepStrategy,
    events,
)


@pytest.fixture(params=[CachingStore, BlockingCalls])
def make_caching(request):
    """Makes a caching store of either kind from two blocking stores."""
    return request.param


def test_load_fills_the_cache(make_caching, cache, backing, new_record):
    """A session is read from the store once and then from the cache."""
    record = new_record(n=1)
    backing.save(record)
    store = make_caching(cache, backing)
    assert cache.count() == 0
    assert store.load(record.id) == record
    assert cache.load(record.id) == record
    backing.load = lambda id: pytest.fail("read again")
    assert store.load(record.id) == record


def test_writes_go_to_both(make_caching, cache, backing, new_record):
    """Create, save, update and delete leave cache and store equal."""
    store = make_caching(cache, backing)
    created, saved = store.create(new_record(n=1)), new_record(n=2)
    store.save(saved)
    store.update(saved.id, lambda now: attrs.evolve(now, data={"n": 3}))
    assert list(cache.records()) == list(backing.records())
    assert store.delete(created.id)
    assert store.delete(saved.id)
    assert cache.count() == backing.count() == 0


def test_update_notices_a_session_deleted_from_the_store(make_caching, cache, backing, new_record):
    """An update of a session that is gone from the store removes it from the cache, too."""
    store = make_caching(cache, backing)
    record = new_record()
    store.save(record)
    backing.delete(record.id)
    assert store.update(record.id, lambda now: now) is None
    assert cache.count() == 0
    assert store.load(record.id) is None


def test_failed_save_keeps_the_stored_record(make_caching, cache, backing, new_record):
    """After the store refuses a save, `load` returns the record that the store holds."""
    store = make_caching(cache, backing)
    record = new_record(n=1)
    store.save(record)

    def fail(record):
        raise BackendError

    backing.save = fail
    with pytest.raises(BackendError):
        store.save(attrs.evolve(record, data={"n": 2}))
    assert store.load(record.id) == record


@pytest.mark.parametrize("error", [BackendError, DecodeError])
def test_load_with_a_failing_cache(make_caching, cache, backing, new_record, error):
    """When the cache cannot be read, or fails altogether, `load` returns what the store holds."""

    def fail(_):
        raise error

    store = make_caching(cache, backing)
    record = store.create(new_record(n=1))
    cache.load = fail
    assert store.load(record.id) == record
    cache.save = cache.delete = fail
    assert store.load(record.id) == record
    assert store.load(new_record().id) is None


def test_sweep_with_a_failing_cache(make_caching, cache, backing, new_record, caplog):
    """When the cache cannot be swept, the store's report is still returned and the error is logged."""
    backing.save(new_record(-1))

    def fail(*arguments, **options):
        raise BackendError("the cache's disk cannot be read")

    cache.delete_expired = fail
    report = make_caching(cache, backing).delete_expired(budget=timedelta(minutes=1))
    assert (report.deleted, report.complete) == (1, True)
    assert "the cache's disk cannot be read" in caplog.text


@pytest.mark.parametrize(
    ("kind", "wrap"),
    [(CachingStore, lambda store: store), (AsyncCachingStore, partial(AsyncStore, in_thread=True))],
    ids=["blocking", "asynchronous"],
)
def test_only_the_store_reports_expired_sessions(tmp_path, clock, backing, new_record, caplog, kind, wrap):
    """A session swept from both reports one event; one swept from the cache but live in the store reports none."""
    caplog.set_level(logging.DEBUG, "sled_sessions.events")
    prolonged, expired = new_record(-1), new_record(-1)
    with SledStore.open(tmp_path, clock=clock) as cache:
        for record in (prolonged, expired):
            cache.save(record)
        backing.save(attrs.evolve(prolonged, expiry_date=new_record(60).expiry_date))
        backing.save(expired)
        store = kind(wrap(cache), backing)
        report = store.delete_expired()
        if asyncio.iscoroutine(report):
            asyncio.run(report)
        assert cache.count() == 0
        assert [record.event for record in caplog.records] == ["expired"]
        events.expired(expired.id.key)
    assert len(caplog.records) == 2


def test_record_too_large_for_the_cache(make_caching, tmp_path, clock, backing, new_record):
    """A record that is too large for the cache is read from the store and not from an older copy in the cache."""
    with SledStore.open(tmp_path, clock=clock, max_record_bytes=200) as cache:
        store = make_caching(cache, backing)
        record = new_record(n=1)
        store.save(record)
        large = attrs.evolve(record, data={"n": "x" * 300})
        store.save(large)
        assert backing.load(record.id) == store.load(record.id) == large
        assert store.create(attrs.evolve(large, id=Id.new())).data == large.data


@pytest.mark.parametrize("error", [BackendError, KeyboardInterrupt])
@pytest.mark.parametrize(
    "write",
    [
        lambda store, record: store.save(attrs.evolve(record, data={"n": 2})),
        lambda store, record: store.update(record.id, lambda now: attrs.evolve(now, data={"n": 2})),
        lambda store, record: store.delete(record.id),
    ],
)
def test_store_that_writes_before_it_fails(make_caching, clock, cache, new_record, write, error):
    """After a write that raised, `load` asks the store again, since the write may have succeeded."""

    class WritesAndFails(MemoryStore):
        fails = False

        def save(self, record):
            super().save(record)
            self._fail()

        def update(self, id, change, *, seen=None):
            super().update(id, change, seen=seen)
            self._fail()

        def delete(self, id):
            super().delete(id)
            self._fail()

        def _fail(self):
            if self.fails:
                raise error

    backing = WritesAndFails(clock=clock)
    store = make_caching(cache, backing)
    record = new_record(n=1)
    store.save(record)
    backing.fails = True
    with pytest.raises(error):
        write(store, record)
    assert store.load(record.id) == backing.load(record.id) != record


def test_sweep_options_apply_to_both_stores(make_caching, cache, backing, clock, new_record):
    """`now` and `limit` apply to the cache, too, which is swept even if the limit ended the store's sweep."""
    store = make_caching(cache, backing)
    for _ in range(2):
        store.create(new_record(10))
    report = store.delete_expired(now=clock() + timedelta(seconds=30), limit=1)
    assert (report.deleted, report.complete) == (1, False)
    assert (backing.count(), cache.count()) == (1, 1)


@pytest.mark.parametrize("write", ["create", "save"])
def test_the_store_is_written_first(make_caching, clock, cache, new_record, write):
    """A session is in the store before it is in the cache."""

    class ChecksCache(MemoryStore):
        def save(self, record):
            assert cache.count() == 0
            super().save(record)

    USES[write](make_caching(cache, ChecksCache(clock=clock)), new_record())
    assert cache.count() == 1


class SlicedStore:
    """A store whose sweep is complete after a number of slices; it notes each sweep in `done`."""

    def __init__(self, parts, done):
        self.parts, self.done = parts, done

    def load(self, id):
        raise NotImplementedError

    def delete_expired(self, strategy=None, *, budget=None, **options):
        self.done.append(self)
        is_complete = budget is None or self.done.count(self) % self.parts == 0
        return SweepReport(SweepStrategy.FULL_SCAN, examined=1, complete=is_complete)


class AsyncSlicedStore(SlicedStore):
    """The same store for asyncio."""

    async def load(self, id):
        raise NotImplementedError

    async def delete_expired(self, strategy=None, **options):
        return super().delete_expired(strategy, **options)


@pytest.mark.parametrize("kind", [SlicedStore, AsyncSlicedStore])
def test_sweep_in_slices(kind):
    """Sweeps with a budget finish the store, then the cache, and are complete when both are."""
    done = []
    cache, backing = kind(3, done), kind(4, done)
    store = (CachingStore if kind is SlicedStore else AsyncCachingStore)(cache, backing)

    def sweep(**options):
        report = store.delete_expired(**options)
        return asyncio.run(report) if kind is AsyncSlicedStore else report

    for _ in range(2):
        done.clear()
        reports = [sweep(budget=timedelta(0)) for _ in range(6)]
        assert [report.complete for report in reports] == [False] * 5 + [True]
        assert [report.examined for report in reports] == [1, 1, 1, 1, 0, 0]
        assert done == [backing] * 4 + [cache] * 3
    for _ in range(5):
        sweep(budget=timedelta(0))
    done.clear()
    assert sweep().complete
    assert done == [backing, cache]
