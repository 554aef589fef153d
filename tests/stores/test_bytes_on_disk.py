"""The bytes that a SledStore writes, and those that the Rust crate has written."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from reference import read_jsonl

from sled_sessions import (
    Id,
    Record,
    SledStore,
    SweepStrategy,
)
from sled_sessions.records import codec

STRATEGIES = pytest.mark.parametrize("strategy", list(SweepStrategy), ids=lambda strategy: strategy.value)


@pytest.fixture
def store(tree, clock):
    return SledStore(tree, clock=clock)


def _index(store):
    return store.tree.db.open_tree(store.tree.name + b":expiry")


def test_a_record_lies_under_its_id(store, tree, new_record):
    """The record tree maps the id's big-endian bytes to the record's bytes and holds nothing else."""
    record = new_record(n=1)
    store.save(record)
    assert list(tree) == [(bytes(record.id), record.encode())]


@pytest.mark.parametrize(
    "moment", [datetime(2030, 1, 1, 12, 0, 0, 999_999, UTC), datetime(1901, 2, 3, 4, 5, 6, 7, UTC)]
)
@pytest.mark.parametrize("step", [timedelta(microseconds=1), timedelta(seconds=1), timedelta(minutes=7)])
def test_an_entry_is_the_rounded_expiry_and_the_id(db, clock, moment, step):
    """An entry is the expiry in microseconds, rounded down, sign bit flipped, big-endian, and the record's key."""
    store = SledStore(db.open_tree("session"), resolution=step, clock=clock)
    record = Record(Id.new(), {}, moment)
    store.save(record)
    microseconds = codec.to_microseconds(moment)
    rounded = microseconds // (step // timedelta(microseconds=1)) * (step // timedelta(microseconds=1))
    assert list(_index(store)) == [((rounded + 2**63).to_bytes(8, "big") + record.id.key, b"")]


def test_the_index_is_told_by_a_marker(store, db):
    """The meta tree names the index's format and resolution."""
    ((key, marker),) = db.open_tree("session:meta")
    assert key == b"expiry_index"
    assert msgspec.msgpack.decode(marker) == {"version": 1, "resolution_us": 1_000_000}


def test_a_full_scan_store_writes_what_the_crate_writes(db, clock, new_record):
    """With FULL_SCAN there is one tree with the records, and nothing else in the database."""
    store = SledStore(db.open_tree("session"), strategy=SweepStrategy.FULL_SCAN, clock=clock)
    store.save(new_record())
    assert sorted(db.tree_names()) == [b"__sled__default", b"session"]


def test_reads_the_crates_database(rust_storage):
    """Every record that the Rust crate wrote is there and equal, and the index gets built."""
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
def test_sweeps_the_crates_database(rust_storage, strategy):
    """Both sweeps delete the same six sessions, those that expired in 2020."""
    rows = read_jsonl("records.jsonl")
    expired = {row["id"] for row in rows if int(row["expiry_ns"]) < 1_700_000_000 * 10**9}
    with SledStore.open(rust_storage) as store:
        gone = []
        report = store.delete_expired(strategy, on_expired=gone.append)
        assert (report.deleted, report.strategy) == (6, strategy)
        assert {str(record.id) for record in gone} == expired
        assert store.count() == 54
        assert store.verify_index()


def test_saves_back_what_the_crate_wrote(rust_storage):
    """A record of the crate that is loaded and saved unchanged keeps every byte."""
    with SledStore.open(rust_storage) as store:
        before = list(store.tree)
        for record in list(store.records()):
            store.save(record)
        assert list(store.tree) == before
        assert store.verify_index()
