"""Monitoring: calls of a store through `observe`, and events through logging."""

import asyncio
import logging
import threading
from datetime import timedelta

import pytest

from sled_sessions import (
    AsyncSessionStore,
    AsyncStore,
    BackendError,
    MemoryStore,
    SessionStore,
    Sweeper,
    SweepStrategy,
    events,
    observe,
)


@pytest.fixture
def calls():
    return []


def outcomes(calls):
    return [(call.operation, call.outcome) for call in calls]


EXPECTED = [
    ("create", "ok"),
    ("load", "ok"),
    ("save", "ok"),
    ("update", "ok"),
    ("delete", "ok"),
    ("delete", "missing"),
    ("load", "missing"),
    ("update", "missing"),
    ("delete_expired", "ok"),
]


def test_observed_calls(clock, new_record, calls):
    """Each call is reported with its outcome and duration, and returns what the store returns."""
    store = observe(MemoryStore(clock=clock), calls.append)
    assert isinstance(store, SessionStore)
    record = store.create(new_record(n=1))
    assert store.load(record.id) == record
    store.save(record)
    assert store.update(record.id, lambda now: now) == record
    assert store.delete(record.id)
    assert not store.delete(record.id)
    assert store.load(record.id) is None
    assert store.update(record.id, lambda now: now) is None
    report = store.delete_expired(SweepStrategy.FULL_SCAN, limit=3)
    assert outcomes(calls) == EXPECTED
    assert calls[-1].report is report
    assert all(call.seconds > 0 for call in calls)


def test_observed_asyncio_calls(clock, new_record, calls):
    """Calls of an asyncio store are reported the same way."""
    store = observe(AsyncStore(MemoryStore(clock=clock)), calls.append)
    assert isinstance(store, AsyncSessionStore)

    async def use():
        record = await store.create(new_record(n=1))
        assert await store.load(record.id) == record
        await store.save(record)
        assert await store.update(record.id, lambda now: now) == record
        assert await store.delete(record.id)
        assert not await store.delete(record.id)
        assert await store.load(record.id) is None
        assert await store.update(record.id, lambda now: now) is None
        await store.delete_expired()

    asyncio.run(use())
    assert outcomes(calls) == EXPECTED
    assert calls[-1].report.strategy is SweepStrategy.EXPIRY_INDEX


def test_non_store_is_refused():
    """`observe` refuses what is not a store."""
    for other in (print, MemoryStore):
        with pytest.raises(TypeError, match="store must be a SessionStore"):
            observe(other, print)


def test_failed_call(clock, new_record, calls):
    """A call that raises is reported as an error, and the exception is raised."""

    class Broken(MemoryStore):
        def save(self, record):
            raise BackendError("the disk has failed")

    with pytest.raises(BackendError):
        observe(Broken(clock=clock), calls.append).save(new_record())
    assert outcomes(calls) == [("save", "error")]


def test_sweep_events(clock, new_record, caplog):
    """Each session deleted by a sweep is an event under its hash, and each sweep of a Sweeper is one, too."""
    caplog.set_level(logging.DEBUG, "sled_sessions.events")
    store = MemoryStore(clock=clock)
    records = [new_record(-1) for _ in range(3)]
    for record in records:
        store.save(record)
    has_swept = threading.Event()
    with Sweeper(store, timedelta(milliseconds=10), jitter=0, on_sweep=lambda report: has_swept.set()):
        assert has_swept.wait(20)
    expired = [record for record in caplog.records if record.event == "expired"]
    assert len({record.session for record in expired}) == 3
    swept = [record for record in caplog.records if record.event == "swept"]
    assert swept[0].report.deleted == 3
    assert swept[0].levelname == "INFO"


def test_events_contain_no_id(caplog, new_record):
    """Events name a session by a keyed hash, the same for the same session, and contain no spelling of its id."""
    caplog.set_level(logging.DEBUG, "sled_sessions.events")
    old, new = new_record().id, new_record().id
    events.created(old)
    events.rotated(old, new)
    events.deleted(new)
    created, rotated, deleted = caplog.records
    assert created.session == rotated.was != rotated.session == deleted.session
    for record in caplog.records:
        for id in (old, new):
            for spelling in (str(id), bytes(id).hex(), str(int(id))):
                assert spelling not in str(record.__dict__)


def test_shared_key(caplog, new_record, monkeypatch):
    """Under the same key a session has the same hash; a key that is too short or not bytes is refused."""
    caplog.set_level(logging.INFO, "sled_sessions.events")
    monkeypatch.setattr(events, "_key", b"")  # restored after the test
    id = new_record().id
    for key in (b"a" * 32, b"b" * 32, b"a" * 32):
        events.set_key(key)
        events.created(id)
    first, second, third = (record.session for record in caplog.records)
    assert first == third != second
    with pytest.raises(ValueError, match="16 to 64 bytes"):
        events.set_key(b"short")
    with pytest.raises(TypeError, match="bytes"):
        events.set_key("k" * 32)
    events.created(id)
    assert caplog.records[-1].session == third
