"""The bytes a SledStore writes, and databases written by the Rust crate."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from reference import read_jsonl
from stores.indexes import STRATEGIES, index_tree

from sled_sessions import Id, Record, SledStore, SweepStrategy
from sled_sessions.records import codec


@pytest.fixture
def store(tree, clock):
    return SledStore(tree, clock=clock)


def test_record_key_is_the_id(store, tree, new_record):
    """The record tree maps each id, as big-endian bytes, to the encoded record, and holds nothing else."""
    record = new_record(n=1)
    store.save(record)
    assert list(tree) == [(bytes(record.id), record.encode())]


@pytest.mark.parametrize(
    "moment", [datetime(2030, 1, 1, 12, 0, 0, 999_999, UTC), datetime(1901, 2, 3, 4, 5, 6, 7, UTC)]
)
@pytest.mark.parametrize("step", [timedelta(microseconds=1), timedelta(seconds=1), timedelta(minutes=7)])
def test_index_entry_is_rounded_expiry_and_id(db, clock, moment, step):
    """An entry is the expiry in microseconds, rounded down, sign bit flipped, big-endian, then the record's key."""
    store = SledStore(db.open_tree("session"), resolution=step, clock=clock)
    record = Record(Id.new(), {}, moment)
    store.save(record)
    microseconds = codec.to_microseconds(moment)
    rounded = microseconds // (step // timedelta(microseconds=1)) * (step // timedelta(microseconds=1))
    assert list(index_tree(store)) == [((rounded + 2**63).to_bytes(8, "big") + record.id.key, b"")]


def test_index_marker(store, db):
    """The meta tree holds the index's format version and resolution."""
    ((key, marker),) = db.open_tree("session:meta")
    assert key == b"expiry_index"
    assert msgspec.msgpack.decode(marker) == {"version": 1, "resolution_us": 1_000_000}


def test_full_scan_store_writes_only_records(db, clock, new_record):
    """With FULL_SCAN the database holds the tree of records and no other tree, as with the crate."""
    store = SledStore(db.open_tree("session"), strategy=SweepStrategy.FULL_SCAN, clock=clock)
    store.save(new_record())
    assert sorted(db.tree_names()) == [b"__sled__default", b"session"]


def test_reads_crate_database(rust_storage):
    """Every record that the Rust crate wrote loads unchanged, and opening the store builds the index."""
    rows = {row["id"]: row for row in read_jsonl("records.jsonl")}
    with SledStore.open(rust_storage) as store:
        records = {str(record.id): record for record in store.records()}
        assert records.keys() == rows.keys()
        for id, record in records.items():
            assert record.data == rows[id]["data"]
            assert codec.to_microseconds(record.expiry_date) * 1000 == int(rows[id]["expiry_ns"])
        report = store.verify_index()
        assert report
        assert (report.records, report.entries) == (60, 60)


@STRATEGIES
def test_sweeps_crate_database(rust_storage, strategy):
    """Both strategies delete the same six sessions, which expired in 2020."""
    rows = read_jsonl("records.jsonl")
    expired = {row["id"] for row in rows if int(row["expiry_ns"]) < 1_700_000_000 * 10**9}
    with SledStore.open(rust_storage) as store:
        deleted = []
        report = store.delete_expired(strategy, on_expired=deleted.append)
        assert (report.deleted, report.strategy) == (6, strategy)
        assert {str(record.id) for record in deleted} == expired
        assert store.count() == 54
        assert store.verify_index()


def test_saving_a_crate_record_keeps_its_bytes(rust_storage):
    """Loading and saving one of the crate's records without changes keeps every byte."""
    with SledStore.open(rust_storage) as store:
        before = list(store.tree)
        for record in list(store.records()):
            store.save(record)
        assert list(store.tree) == before
        assert store.verify_index()
