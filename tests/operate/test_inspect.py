"""Looking at a database: what is found, and that looking changes nothing."""

import random
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from operate.databases import contents, fill

from sled_sessions import DecodeError, Id, Record, SledStore, SweepStrategy
from sled_sessions.operate import OperationError, check_everything, compact, find_session, opened_store, stats


@pytest.fixture
def storage(tmp_path):
    fill(tmp_path / "storage", 50, expired=7)
    return tmp_path / "storage"


def test_stats(storage):
    """Stats count live, expired and undecodable sessions and bytes, and give the expiries and the index's step."""
    with opened_store(storage) as store:
        store.tree.insert(b"k" * 16, b"no record")
        found = stats(store)
        assert (found.sessions, found.expired, found.unreadable) == (50, 7, 1)
        assert found.first_expiry == datetime(2020, 1, 1, tzinfo=UTC)
        assert found.last_expiry == datetime(2099, 1, 1, 0, 0, 49, tzinfo=UTC)
        assert found.resolution == timedelta(seconds=1)
        assert {tree.name: tree.keys for tree in found.trees} == {
            "__sled__default": 0,
            "session": 58,
            "session:expiry": 57,
            "session:meta": 1,
        }
        assert found.live_bytes == check_everything(store).contents.size
        assert found.bytes_on_disk == store.tree.db.size_on_disk()
        assert (found.blob_bytes, found.unused_blob_bytes) == (0, 0)


def test_stats_of_blobs(tmp_path):
    """Stats say how many bytes are in blobs and how many of those a reopening frees."""
    moment = [datetime(2026, 1, 1, tzinfo=UTC)]
    chance = random.Random(1)
    with SledStore.open(tmp_path / "storage", clock=lambda: moment[0]) as store:
        for _ in range(2):
            for _ in range(300):
                data = {"text": chance.randbytes(chance.randint(4_500, 30_000)).hex()}
                store.create(Record(Id.new(), data, moment[0] + timedelta(minutes=1)))
            moment[0] += timedelta(minutes=2)
            store.delete_expired()
        found = stats(store)
        assert 0 < found.unused_blob_bytes <= found.blob_bytes < found.bytes_on_disk
    with opened_store(tmp_path / "storage") as store:
        after = stats(store)
        assert after.unused_blob_bytes == 0
        assert after.bytes_on_disk < found.bytes_on_disk - found.unused_blob_bytes / 2


def test_what_compact_would_leave(tmp_path):
    """When most sessions are gone, stats predict what `compact` leaves; of its result they predict nothing."""
    records = fill(tmp_path / "storage", 30_000)
    with opened_store(tmp_path / "storage") as store:
        for record in records[3000:]:
            store.delete(record.id)
        predicted = stats(store).compacted_bytes
    report = compact(tmp_path / "storage", tmp_path / "smaller")
    assert predicted / 2 < report.size_after < predicted * 1.5
    assert predicted < report.size_before / 2
    with opened_store(tmp_path / "smaller") as store:
        assert stats(store).compacted_bytes is None


@pytest.mark.parametrize(
    ("key", "data"),
    [
        (b"", {}),
        (b"short", {}),
        (b"k" * 17, {}),
        pytest.param(b"k" * 16, {}, id="the record of another id"),
        pytest.param(b"k" * 16, {1: 2}, id="data with a key that is no text"),
    ],
)
def test_undecodable_records(storage, key, data):
    """What `load` would refuse counts as undecodable in `stats`, in a check and in `records()` alike."""
    with opened_store(storage) as store:
        id = key if data else b"other" * 3 + b"!"
        store.tree.insert(key, msgspec.msgpack.encode((id, data, (2099, 1, 0, 0, 0, 0, 0, 0, 0))))
        assert len(list(store.records())) == 57
        found = stats(store)
        assert (found.sessions + found.expired, found.unreadable) == (57, 1)
        checked = check_everything(store)
        assert (checked.sessions, checked.unreadable) == (57, 1)


@pytest.mark.parametrize("strategy", [None, *SweepStrategy])
def test_dry_run_counts_what_a_sweep_deletes(storage, strategy):
    """A dry run deletes nothing, and a sweep right after it deletes just as many."""
    with opened_store(storage) as store:
        counted = store.delete_expired(strategy, dry_run=True)
        assert (counted.deleted, store.count()) == (7, 57)
        assert store.delete_expired(strategy).deleted == 7


def test_find_by_id_or_prefix(storage):
    """A whole id finds expired sessions, too; a prefix finds the only session that has it."""
    with opened_store(storage) as store:
        for record in store.records():
            assert find_session(store, str(record.id)) == record
            assert find_session(store, f"{str(record.id)[:12]}…") == record
        assert find_session(store, str(Id.new())) is None
        assert find_session(store, str(Id.new())[:21]) is None


def test_ambiguous_prefix(tmp_path):
    """A prefix that several ids have is refused."""
    with SledStore.open(tmp_path / "storage") as store:
        for n in (0, 1):
            store.save(Record(Id(bytes([n]) + bytes(15)), {}, datetime(2099, 1, 1, tzinfo=UTC)))
        with pytest.raises(OperationError, match="2 sessions"):
            find_session(store, "AAAAA")
        with pytest.raises(DecodeError, match="at least"):
            find_session(store, "AAA")
        with pytest.raises(DecodeError):
            find_session(store, "?" * 22)


def test_check_finds_index_faults(storage):
    """Missing entries and undecodable records make the report falsy, entries left over do not; nothing is repaired."""
    with opened_store(storage) as store:
        assert check_everything(store)
        entries = store.tree.db.open_tree("session:expiry")
        entries.insert(b"\xff" * 24, b"")
        report = check_everything(store)
        assert report
        assert (report.index.missing, report.index.stale) == (0, 1)
        entries.remove(entries.first()[0])
    before = contents(storage)
    with opened_store(storage) as store:
        report = check_everything(store)
        assert not report
        assert (report.index.missing, report.index.stale) == (1, 1)
    assert contents(storage) == before
    with opened_store(storage) as store:
        store.rebuild_index()
        assert check_everything(store)
        store.tree.insert(b"k" * 16, b"no record")
        assert not check_everything(store)
