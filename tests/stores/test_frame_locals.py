"""An error that leaves a store shows no id, key or record to a reporter that records local variables."""

from datetime import UTC, datetime, timedelta
from functools import partial

import attrs
import msgspec
import pytest
from bridge import Blocking
from frame_locals import ID, SECRET, leaks, raised
from odd_records import VALUES, record_with
from store_factories import SERVED_STORES, STORES

from sled_sessions import AsyncCachingStore, CachingStore, Id, MemoryStore, Record
from sled_sessions.stores.observed import observe

_STORES = STORES | {name: SERVED_STORES[name] for name in ("redis-valkey", "redis-cluster", "caching-redis")}


@pytest.fixture(params=_STORES.values(), ids=_STORES)
def store(request, tmp_path, clock):
    with request.param(tmp_path, clock) as store:
        yield store


class Failed(Exception):
    """What an app's own function raises."""


def fail(*arguments):
    raise Failed


def changing(**changes):
    """A change for `update` that sets these fields."""
    return lambda record: attrs.evolve(record, **changes)


def without_zone(record):
    """A change for `update` whose record cannot be encoded."""
    record.expiry_date = datetime(2099, 1, 1)
    return record


def put(store, value):
    """Put bytes under the session's id in the innermost store."""
    if isinstance(store, Blocking):
        inner = store.store
        if isinstance(inner, AsyncCachingStore):
            inner._pair._fetched.clear()  # or it would answer from its cache
            inner = inner.store
        store._run(inner.client.set(f"session:{ID}", value))
    elif isinstance(store, CachingStore):
        put(store.store, value)
        store.cache.delete(ID)
    elif isinstance(store, MemoryStore):
        store._values[ID.key] = value
    else:
        store.tree.insert(ID.key, value)


LARGE = {"card": SECRET, "text": "x" * 70_000}
NOT_JSON = {"card": SECRET, "nested": [{"card": SECRET, "set": {SECRET}}]}
UNREADABLE = record_with(b"\x92" + msgspec.msgpack.encode(SECRET) + VALUES["binary"], ID)

WRITES = {
    "too large": lambda record: attrs.evolve(record, data=LARGE),
    "not JSON": lambda record: attrs.evolve(record, data=NOT_JSON),
    "key that is no text": lambda record: attrs.evolve(record, data={"card": SECRET, 1: SECRET}),
}
FAILURES = {
    **{f"create {what}": (lambda s, r, bad=bad: s.create(bad(r))) for what, bad in WRITES.items()},
    **{f"save {what}": (lambda s, r, bad=bad: s.save(bad(r))) for what, bad in WRITES.items()},
    **{f"update {what}": (lambda s, r, bad=bad: s.update(ID, bad)) for what, bad in WRITES.items()},
    **{
        f"update seen {what}": (lambda s, r, bad=bad: s.update(ID, bad, seen=s.load(ID)))
        for what, bad in WRITES.items()
    },
    "update raises": lambda s, r: s.update(ID, fail),
    "update returns nothing": lambda s, r: s.update(ID, lambda record: None),
    "update changes the id": lambda s, r: s.update(ID, changing(id=Id.new())),
    "update without a zone": lambda s, r: s.update(ID, without_zone),
    "load unreadable": lambda s, r: (put(s, UNREADABLE), s.load(ID)),
    "update unreadable": lambda s, r: (put(s, UNREADABLE), s.update(ID, changing())),
    "load another's": lambda s, r: (put(s, attrs.evolve(r, id=Id.new()).encode()), s.load(ID)),
    **{
        f"{name} text": (lambda s, r, name=name, more=more: getattr(s, name)(str(ID), *more))
        for name, more in (
            ("load", ()),
            ("delete", ()),
            ("update", (changing(),)),
            ("mark_rotated", (datetime(2099, 1, 1, tzinfo=UTC),)),
            ("was_rotated", ()),
        )
    },
}


@pytest.mark.parametrize("failing", FAILURES.values(), ids=FAILURES)
def test_calls_that_fail(store, clock, failing):
    """Whichever call fails, and why, no local variable shows an id, a key, or what a record holds."""
    record = Record(ID, {"card": SECRET}, clock() + timedelta(hours=1))
    store.save(record)
    assert leaks(raised(lambda: failing(store, record))) == []


@pytest.mark.parametrize("name", STORES)
def test_callbacks_that_fail(name, tmp_path, clock):
    """So too when the app's clock, `on_expired` or `progress` raises during a sweep, or an observer at any call."""
    with STORES[name](tmp_path, clock) as store:
        store.save(Record(ID, {"card": SECRET}, clock() + timedelta(hours=1)))
        watched = observe(store, fail)
        errors = [raised(lambda: watched.load(ID)), raised(lambda: watched.update(ID, changing()))]
        clock.move(timedelta(hours=2))
        for name in ("on_expired", "progress"):
            store.save(Record(ID, {"card": SECRET}, clock() - timedelta(hours=1)))
            errors.append(raised(partial(store.delete_expired, **{name: fail})))
        store.save(Record(ID, {"card": SECRET}, clock() + timedelta(hours=1)))
        inner = store.store if isinstance(store, CachingStore) else store
        inner.clock = fail
        errors += [raised(lambda: inner.load(ID)), raised(inner.delete_expired)]
        errors.append(raised(lambda: inner.update(ID, changing())))
        assert [type(error) for error in errors] == [Failed] * 7
        assert [leaks(error) for error in errors] == [[]] * 7


@pytest.mark.parametrize("name", ["sled-index", "sled-full-scan", "caching"])
def test_engine_that_fails(name, tmp_path, clock):
    """So too when the engine fails, for readers, writers and those in the middle of an iteration."""
    with STORES[name](tmp_path, clock) as store:
        record = Record(ID, {"card": SECRET}, clock() + timedelta(hours=1))
        store.save(record)
        inner = store.store if isinstance(store, CachingStore) else store
        for number in range(600):  # more than an iterator fetches at once
            inner.save(attrs.evolve(record, id=Id(bytes([number % 256]) * 14 + number.to_bytes(2))))
        iterators = [inner.records()]
        if inner.resolution is not None:  # without an index it has read everything before the first one
            iterators.append(inner.expiring())
        for each in iterators:
            next(each)
        inner.tree.db.close()
        calls = [
            lambda: store.create(record),
            lambda: store.save(record),
            lambda: store.load(ID),
            lambda: store.delete(ID),
            lambda: store.mark_rotated(ID, record.expiry_date),
            lambda: store.was_rotated(ID),
            lambda: store.update(ID, changing()),
            lambda: store.update(ID, changing(), seen=Record(ID, {"card": SECRET}, record.expiry_date, version=b"x")),
            store.delete_expired,
            inner.count,
            inner.first_expiry,
            inner.verify_index,
            inner.rebuild_index,
            inner.flush,
            *(lambda each=each: list(each) for each in iterators),
        ]
        if isinstance(store, CachingStore):
            store.cache.delete(ID)
        for call in calls:
            assert leaks(raised(call)) == []
