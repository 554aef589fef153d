"""Counting and listing the sessions of a store, and their expiries."""

from datetime import datetime, timedelta

import attrs
import pytest
from store_factories import STORES

from sled_sessions import EncodeError


@pytest.fixture(params=sorted(STORES.keys() - {"caching"}))  # a CachingStore has no such methods; its two stores have
def seen(request, tmp_path, clock):
    with STORES[request.param](tmp_path, clock) as store:
        yield store


def test_empty_store(seen):
    """An empty store has no records, nothing expiring and no first expiry."""
    assert seen.count() == 0
    assert list(seen.records()) == list(seen.expiring()) == []
    assert seen.first_expiry() is None


def test_count_and_records(seen, new_record):
    """All records are counted, and listed in the order of their ids, including expired ones not yet swept."""
    records = sorted((new_record(seconds) for seconds in (-10, 10, 20)), key=lambda record: record.id.key)
    for record in reversed(records):
        seen.save(record)
    assert seen.count() == 3
    assert list(seen.records()) == records
    seen.delete_expired()
    assert seen.count() == 2


def test_first_expiry(seen, new_record, clock):
    """`first_expiry` is that of the session that expires next, early by at most one step of the index."""
    step = getattr(seen, "resolution", None) or timedelta(0)
    for seconds in (300, 200, 400):
        seen.save(new_record(seconds))
    seen.save(prolonged := new_record(100))
    seen.save(attrs.evolve(prolonged, expiry_date=new_record(500).expiry_date))
    assert new_record(200).expiry_date - step <= seen.first_expiry() <= new_record(200).expiry_date


def test_expiring(seen, new_record):
    """`expiring` lists sessions in order of expiry, with an inclusive start and an exclusive stop."""
    records = [new_record(seconds) for seconds in (599.75, 59.75, 180, 1200, 30)]
    for record in records:
        seen.save(record)
    minute = timedelta(minutes=1)
    start, stop = records[1].expiry_date, records[0].expiry_date  # whole minutes
    found = list(seen.expiring(start, stop))
    assert [id for _, id in found] == [records[1].id, records[2].id]
    assert all(0 <= (record.expiry_date - at) / minute < 1 for (at, _), record in zip(found, records[1:3], strict=True))
    assert [id for _, id in seen.expiring()] == [records[i].id for i in (4, 1, 2, 0, 3)]


def test_expiring_refuses_naive_bounds(seen):
    """A naive bound raises when `expiring` is called, not when it is iterated."""
    with pytest.raises(EncodeError, match="start"):
        seen.expiring(datetime(2030, 1, 1))
    with pytest.raises(EncodeError, match="stop"):
        seen.expiring(None, datetime(2030, 1, 1))
