"""Stores with unreadable records, jumping clocks, thousands of open iterators and an unread watcher."""

import os
from datetime import timedelta

import pytest

from sled_sessions import DecodeError, Id, Record, SledStore, SweepStrategy, sled

STRATEGIES = pytest.mark.parametrize("strategy", list(SweepStrategy))


@pytest.fixture
def store(tmp_path, clock):
    with SledStore.open(tmp_path / "storage", clock=clock) as store:
        yield store


def save(store, seconds):
    return store.create(Record(Id.new(), {"n": seconds}, store.clock() + timedelta(seconds=seconds)))


@STRATEGIES
def test_sweep_among_unreadable_records(store, strategy):
    """Among a thousand unreadable records a sweep deletes expired sessions; it counts and keeps the others."""
    garbage = {}
    for n in range(1000):
        record = save(store, -60)
        garbage[record.id.key] = record.encode()[: n % 40] if n % 2 else os.urandom(n % 90)
    expired, live = [save(store, -60) for _ in range(100)], [save(store, 60) for _ in range(100)]
    for key, value in garbage.items():
        store.tree.insert(key, value)
    report = store.delete_expired(strategy)
    assert (report.deleted, report.undecodable, report.complete) == (100, 1000, True)
    assert all(store.load(record.id) is None for record in expired)
    assert all(store.load(record.id) == record for record in live)
    assert len(store.tree) == 1100
    with pytest.raises(DecodeError):
        store.load(Id(next(iter(garbage))))


@STRATEGIES
def test_clock_set_back(store, clock, strategy):
    """A clock set back deletes nothing early; sessions expire when it reaches their expiry again."""
    early, late = save(store, 60), save(store, 4000)
    clock.move(timedelta(hours=-1))
    assert store.delete_expired(strategy).deleted == 0
    again = save(store, 60)  # expires before `early`
    assert store.load(early.id) == early
    clock.move(timedelta(seconds=61))
    assert store.delete_expired(strategy).deleted == 1
    assert store.load(again.id) is None
    clock.move(timedelta(hours=1))
    assert store.delete_expired(strategy).deleted == 1
    assert store.load(late.id) == late
    assert store.verify_index()


@STRATEGIES
def test_clock_set_forward(store, clock, strategy):
    """A clock set forward hides sessions until it is corrected, unless a sweep has deleted them."""
    record, lost = save(store, 60), save(store, 60)
    clock.move(timedelta(days=365))
    assert store.load(record.id) is None
    clock.move(timedelta(days=-365))
    assert store.load(record.id) == record
    clock.move(timedelta(days=365))
    assert store.delete_expired(strategy).deleted == 2
    clock.move(timedelta(days=-365))
    assert store.load(lost.id) is None
    assert store.verify_index()


def test_thousands_of_open_iterators(store):
    """Five thousand unfinished iterators block neither writers, nor a sweep, nor closing."""
    for _ in range(200):
        save(store, -60)
    iterators = [iter(store.tree) for _ in range(5000)]
    assert len({next(each)[0] for each in iterators}) == 1
    for _ in range(200):
        save(store, 60)
    assert store.delete_expired().deleted == 200
    assert store.count() == 200
    store.close()
    with pytest.raises(sled.ClosedError):
        list(iterators[0])


def test_unread_watcher(store):
    """An unread watcher never blocks saves or sweeps; after closing it delivers its last events, and then ends."""
    watcher = store.tree.watch(capacity=100)
    for _ in range(3000):
        save(store, -60)
    assert store.delete_expired().deleted == 3000
    store.close()
    events = losses = 0
    while True:
        try:
            watcher.get()
            events += 1
        except sled.EventsLost:  # may repeat while events are still arriving
            losses += 1
        except sled.ClosedError:
            break
    assert losses >= 1
    assert events >= 100
