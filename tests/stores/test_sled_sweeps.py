"""Sweeps of a SledStore."""

import logging
from datetime import timedelta, timezone

import pytest
from stores.indexes import STRATEGIES

from sled_sessions import DecodeError, Id, Record, SledStore, SweepStrategy


@pytest.fixture
def store(tree, clock):
    return SledStore(tree, clock=clock)


@STRATEGIES
def test_sweep_continues_past_unreadable_records(store, tree, new_record, caplog, strategy):
    """Unreadable records are counted, logged and kept; the expired records around them are deleted."""
    expired = [new_record(-60) for _ in range(20)]
    for record in expired:
        store.save(record)
    for record in expired[::2]:
        tree.insert(record.id.key, b"garbage")
    for _ in range(2):  # unreadable records stay, so both sweeps report them
        caplog.clear()
        report = store.delete_expired(strategy)
        assert report.undecodable == 10
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert store.count() == 10
    assert store.load(expired[1].id) is None
    with pytest.raises(DecodeError):
        store.load(expired[0].id)


@STRATEGIES
def test_limited_sweeps_continue_past_unreadable_records(store, tree, new_record, strategy):
    """Sweeps with a limit continue past unreadable records."""
    expired = sorted((new_record(-60) for _ in range(20)), key=lambda record: record.id)
    for record in expired:
        store.save(record)
    for record in expired[:10]:
        tree.insert(record.id.key, b"garbage")
    assert sum(store.delete_expired(strategy, limit=1).deleted for _ in range(10)) == 10


@STRATEGIES
@pytest.mark.parametrize("hours", [-12, 14])
def test_expiry_with_utc_offset(store, new_record, strategy, hours):
    """Sweeps compare moments, whatever UTC offset an expiry was written with."""
    for seconds in (-1, 1):
        record = new_record(seconds)
        record.expiry_date = record.expiry_date.astimezone(timezone(timedelta(hours=hours)))
        store.save(record)
    assert store.delete_expired(strategy).deleted == 1


@STRATEGIES
def test_limited_sweeps_resume(store, tree, clock, strategy):
    """A sweep with a limit resumes after the last one; a sweep without a limit starts from the beginning."""
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
def test_budget_ends_a_sweep_early(store, new_record, strategy):
    """Even with a budget of zero each sweep makes progress, and the last one is complete."""
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
def test_sweep_within_budget_is_complete(store, new_record, strategy):
    """A sweep that finishes within its budget is complete."""
    for _ in range(3):
        store.save(new_record(-1))
    report = store.delete_expired(strategy, budget=timedelta(hours=1))
    assert (report.deleted, report.complete) == (3, True)


def test_full_scan_reports_progress(store, new_record):
    """A full scan reports how many records it has read, and the total when it ends."""
    for _ in range(2500):
        store.save(new_record(60))
    steps = []
    store.delete_expired(SweepStrategy.FULL_SCAN, progress=lambda done, total: steps.append((done, total)))
    assert steps == [(1024, None), (2048, None), (2500, 2500)]


def test_sweep_deletes_record_with_damaged_data(store, tree, new_record, caplog):
    """An expired record with damaged data is deleted without calling `on_expired`, and the log says so."""
    record = new_record(-1, a="x")
    value = record.encode().replace(b"\xa1a\xa1x", b"\xa1a\xa1\xff")
    store.save(record)
    tree.insert(record.id.key, value)
    seen = []
    report = store.delete_expired(on_expired=seen.append)
    assert (report.deleted, report.undecodable, seen) == (1, 0, [])
    assert "without calling on_expired" in caplog.text
