"""CachingStore beyond the contract: what it asks of its two stores."""

import asyncio
import logging
from datetime import timedelta
from functools import partial

import attrs
import pytest
from stores.caches import USES, Awaiting

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


@pytest.fixture(params=[CachingStore, Awaiting])
def pair(request):
    """Makes either kind of two blocking stores."""
    return request.param


def test_load_fills_the_cache(pair, cache, backing, new_record):
    """A session is read from the store once, and then from the cache."""
    record = new_record(n=1)
    backing.save(record)
    store = pair(cache, backing)
    assert cache.count() == 0
    assert store.load(record.id) == record
    assert cache.load(record.id) == record
    backing.load = lambda id: pytest.fail("read again")
    assert store.load(record.id) == record


def test_writes_go_to_both(pair, cache, backing, new_record):
    """Create, save, update and delete leave cache and store equal."""
    store = pair(cache, backing)
    created, saved = store.create(new_record(n=1)), new_record(n=2)
    store.save(saved)
    store.update(saved.id, lambda now: attrs.evolve(now, data={"n": 3}))
    assert list(cache.records()) == list(backing.records())
    assert store.delete(created.id)
    assert store.delete(saved.id)
    assert cache.count() == backing.count() == 0


def test_a_session_that_ended_behind_the_cache(pair, cache, backing, new_record):
    """An update finds out that the session is gone from the store, and then the cache forgets it, too."""
    store = pair(cache, backing)
    record = new_record()
    store.save(record)
    backing.delete(record.id)
    assert store.update(record.id, lambda now: now) is None
    assert cache.count() == 0
    assert store.load(record.id) is None


def test_a_failed_write_is_not_shown(pair, cache, backing, new_record):
    """After a save that the store did not take, its old state is shown."""
    store = pair(cache, backing)
    record = new_record(n=1)
    store.save(record)

    def fail(record):
        raise BackendError

    backing.save = fail
    with pytest.raises(BackendError):
        store.save(attrs.evolve(record, data={"n": 2}))
    assert store.load(record.id) == record


@pytest.mark.parametrize("error", [BackendError, DecodeError])
def test_a_cache_that_cannot_be_read(pair, cache, backing, new_record, error):
    """While the cache cannot be read, or fails altogether, what the lasting store has is shown."""

    def fail(_):
        raise error

    store = pair(cache, backing)
    record = store.create(new_record(n=1))
    cache.load = fail
    assert store.load(record.id) == record
    cache.save = cache.delete = fail
    assert store.load(record.id) == record
    assert store.load(new_record().id) is None


def test_a_cache_that_cannot_be_swept(pair, cache, backing, new_record, caplog):
    """The report of the store's sweep comes whatever happens to the cache's, which is told to the log."""
    backing.save(new_record(-1))

    def fail(*arguments, **options):
        raise BackendError("the cache's disk cannot be read")

    cache.delete_expired = fail
    report = pair(cache, backing).delete_expired(budget=timedelta(minutes=1))
    assert (report.deleted, report.complete) == (1, True)
    assert "the cache's disk cannot be read" in caplog.text


@pytest.mark.parametrize(
    ("kind", "wrap"),
    [(CachingStore, lambda store: store), (AsyncCachingStore, partial(AsyncStore, in_thread=True))],
    ids=["blocking", "asynchronous"],
)
def test_only_the_store_tells_what_has_expired(tmp_path, clock, backing, new_record, caplog, kind, wrap):
    """Of a session that is swept from both there is one event; of one that lives on in the store there is none."""
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


def test_what_the_cache_does_not_take(pair, tmp_path, clock, backing, new_record):
    """A session that has become too large for the cache is shown as the store has it, and not as it was."""
    with SledStore.open(tmp_path, clock=clock, max_record_bytes=200) as cache:
        store = pair(cache, backing)
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
def test_a_store_that_writes_and_then_fails(pair, clock, cache, new_record, write, error):
    """When nobody knows what the store holds after a failure, it is asked again."""

    class WritesAndFails(MemoryStore):
        fails = False

        def save(self, record):
            super().save(record)
            self._fail()

        def delete(self, id):
            super().delete(id)
            self._fail()

        def _fail(self):
            if self.fails:
                raise error

    backing = WritesAndFails(clock=clock)
    store = pair(cache, backing)
    record = new_record(n=1)
    store.save(record)
    backing.fails = True
    with pytest.raises(error):
        write(store, record)
    assert store.load(record.id) == backing.load(record.id) != record


def test_a_sweep_of_both(pair, cache, backing, clock, new_record):
    """The moment and the limit go for the cache, too, whose turn comes even if the limit has ended the store's."""
    store = pair(cache, backing)
    for _ in range(2):
        store.create(new_record(10))
    report = store.delete_expired(now=clock() + timedelta(seconds=30), limit=1)
    assert (report.deleted, report.complete) == (1, False)
    assert (backing.count(), cache.count()) == (1, 1)


@pytest.mark.parametrize("write", ["create", "save"])
def test_the_store_is_written_first(pair, clock, cache, new_record, write):
    """What the cache shows is in the store already."""

    class Looking(MemoryStore):
        def save(self, record):
            assert cache.count() == 0
            super().save(record)

    USES[write](pair(cache, Looking(clock=clock)), new_record())
    assert cache.count() == 1


class Slices:
    """A store whose sweep in parts needs so many."""

    def __init__(self, parts, done):
        self.parts, self.done = parts, done

    def load(self, id):
        raise NotImplementedError

    def delete_expired(self, strategy=None, *, budget=None, **options):
        self.done.append(self)
        is_complete = budget is None or self.done.count(self) % self.parts == 0
        return SweepReport(SweepStrategy.FULL_SCAN, examined=1, complete=is_complete)


class AsyncSlices(Slices):
    """The same for code that awaits."""

    async def load(self, id):
        raise NotImplementedError

    async def delete_expired(self, strategy=None, **options):
        return super().delete_expired(strategy, **options)


@pytest.mark.parametrize("kind", [Slices, AsyncSlices])
def test_a_sweep_in_parts(kind):
    """It sweeps the store to its end, then the cache, and is complete after as many parts as the two need."""
    done = []
    cache, backing = kind(3, done), kind(4, done)
    store = (CachingStore if kind is Slices else AsyncCachingStore)(cache, backing)

    def sweep(**options):
        report = store.delete_expired(**options)
        return asyncio.run(report) if kind is AsyncSlices else report

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
