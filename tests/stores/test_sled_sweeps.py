"""Sweeps of a SledStore."""

import logging
from datetime import timedelta, timezone

import pytest

from sled_sessions import (
    DecodeError,
    Id,
    Record,
    SledStore,
    SweepStrategy,
)

STRATEGIES = pytest.mark.parametrize("strategy", list(SweepStrategy), ids=lambda strategy: strategy.value)


@pytest.fixture
def store(tree, clock):
    return SledStore(tree, clock=clock)


@STRATEGIES
def test_unreadable_records_do_not_stop_a_sweep(store, tree, new_record, caplog, strategy):
    """Records that cannot be read are counted, logged and left; the expired ones around them go."""
    expired = [new_record(-60) for _ in range(20)]
    for record in expired:
        store.save(record)
    for record in expired[::2]:
        tree.insert(record.id.key, b"garbage")
    for _ in range(2):  # again, since what cannot be read stays
        caplog.clear()
        report = store.delete_expired(strategy)
        assert report.undecodable == 10
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert store.count() == 10
    assert store.load(expired[1].id) is None
    with pytest.raises(DecodeError):
        store.load(expired[0].id)


@STRATEGIES
def test_unreadable_records_do_not_stop_a_sweep_in_parts(store, tree, new_record, strategy):
    """Sweeps with a limit get past records that cannot be read."""
    expired = sorted((new_record(-60) for _ in range(20)), key=lambda record: record.id)
    for record in expired:
        store.save(record)
    for record in expired[:10]:
        tree.insert(record.id.key, b"garbage")
    assert sum(store.delete_expired(strategy, limit=1).deleted for _ in range(10)) == 10


@STRATEGIES
@pytest.mark.parametrize("hours", [-12, 14])
def test_expiries_in_local_time(store, new_record, strategy, hours):
    """A sweep goes by the moment, whatever offset from UTC it was written with."""
    for seconds in (-1, 1):
        record = new_record(seconds)
        record.expiry_date = record.expiry_date.astimezone(timezone(timedelta(hours=hours)))
        store.save(record)
    assert store.delete_expired(strategy).deleted == 1


@STRATEGIES
def test_a_whole_sweep_after_a_part_of_one(store, tree, clock, strategy):
    """A sweep with a limit goes on where the last one ended; one without begins at the front."""
    ids = sorted(Id.new() for _ in range(4))
    records = [Record(id, {}, clock() - timedelta(seconds=60 - number)) for number, id in enumerate(ids)]
    for record in records:
        store.save(record)
    tree.insert(ids[0].key, b"garbage")
    assert [store.delete_expired(strategy, limit=1).examined for _ in range(2)] == [2, 1]
    store.save(records[0])
    assert store.delete_expired(strategy).deleted == 2
    store.save(records[0])
    assert store.delete_expired(strategy, limit=1).deleted == 1


@STRATEGIES
def test_a_budget_ends_a_sweep_early(store, new_record, strategy):
    """With no time at all each sweep still makes progress, and the last one is complete."""
    for _ in range(3000):
        store.save(new_record(-1))
    live = new_record(60)
    store.save(live)
    reports = []
    while not reports or not reports[-1].complete:
        reports.append(store.delete_expired(strategy, budget=timedelta(0)))
        assert len(reports) < 5000
    assert len(reports) > 1
    assert sum(report.deleted for report in reports) == 3000
    assert store.load(live.id) is not None


@STRATEGIES
def test_a_budget_that_is_not_used_up(store, new_record, strategy):
    """A sweep that has time to spare comes to the end."""
    for _ in range(3):
        store.save(new_record(-1))
    report = store.delete_expired(strategy, budget=timedelta(hours=1))
    assert (report.deleted, report.complete) == (3, True)


def test_progress_is_told(store, new_record):
    """A full scan tells how many records it has read, at the end of how many."""
    for _ in range(2500):
        store.save(new_record(60))
    steps = []
    store.delete_expired(SweepStrategy.FULL_SCAN, progress=lambda done, total: steps.append((done, total)))
    assert steps == [(1024, None), (2048, None), (2500, 2500)]


def test_a_record_that_only_partly_decodes(store, tree, new_record, caplog):
    """An expired record whose data is damaged is deleted, which no listener can be told of and the log is."""
    record = new_record(-1, a="x")
    value = record.encode().replace(b"\xa1a\xa1x", b"\xa1a\xa1\xff")
    store.save(record)
    tree.insert(record.id.key, value)
    seen = []
    report = store.delete_expired(on_expired=seen.append)
    assert (report.deleted, report.undecodable, seen) == (1, 0, [])
    assert "without calling on_expired" in caplog.text
