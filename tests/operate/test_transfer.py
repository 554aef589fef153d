"""Sessions as JSON Lines: an exact round trip, and continuing after an interruption."""

import base64
import io
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_values import JSON
from operate.databases import contents, fill, lines
from reference import read_jsonl

from sled_sessions import DecodeError, Id, Record, SledStore, SweepStrategy, sled
from sled_sessions.operate import (
    ImportReport,
    OperationError,
    TargetExists,
    check_everything,
    export_lines,
    export_sessions,
    import_sessions,
    kept_store,
    opened_store,
)
from sled_sessions.records import jsonl

VECTORS = [
    (bytes.fromhex(row["key"]), bytes.fromhex(row["value"]))
    for name in ("vectors.jsonl", "records.jsonl")
    for row in read_jsonl(name)
]


@pytest.mark.parametrize(("key", "value"), VECTORS)
def test_rust_records_round_trip(key, value):
    """Each record that the Rust crate wrote is restored from its line exactly, nanoseconds and offsets included."""
    line = jsonl.to_line(key, value)
    assert jsonl.from_line(line) == (key, value)
    assert b'"value"' not in line


@given(st.binary(max_size=20), st.binary(max_size=80))
def test_any_bytes_round_trip(key, value):
    """Bytes that are not a valid record are restored, too."""
    assert jsonl.from_line(jsonl.to_line(key, value)) == (key, value)


@given(st.dictionaries(st.text(), JSON, max_size=4), st.datetimes(timezones=st.timezones()))
def test_any_record_round_trips(data, expiry_date):
    """Every valid record is restored from its line byte for byte."""
    record = Record(Id.new(), data, expiry_date)
    assert jsonl.from_line(jsonl.to_line(record.id.key, record.encode())) == (record.id.key, record.encode())


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[]",
        "{",
        "{}",
        '{"id":"short","expiry_date":"2030-01-01T00:00:00Z","data":{}}',
        '{"id":"AAAAAAAAAAAAAAAAAAAAAA","expiry_date":"2030-02-30T00:00:00Z","data":{}}',
        '{"id":"AAAAAAAAAAAAAAAAAAAAAA","expiry_date":"2030-01-01T25:00:00Z","data":{}}',
        '{"id":"AAAAAAAAAAAAAAAAAAAAAA","expiry_date":"2030-01-01T00:00:00","data":{}}',
        '{"id":"AAAAAAAAAAAAAAAAAAAAAA","expiry_date":"2030-01-01T00:00:00Z","data":[]}',
        '{"id":"AAAAAAAAAAAAAAAAAAAAAA","data":{}}',
        '{"id":"AAAAAAAAAAAAAAAAAAAAAA","expiry_date":"2030-01-01T00:00:00Z"}',
        '{"id":"AAAAAAAAAAAAAAAAAAAAAA","expiry_date":"2030-01-01T00:00:00Z","data":{},"dta":{}}',
        '{"key":"AA==","value":"?"}',
        '{"key":"AA=="}',
    ],
)
def test_invalid_line(line):
    """A line that is not a session raises DecodeError, and nothing else."""
    with pytest.raises(DecodeError):
        jsonl.from_line(line)


def test_export_and_import_round_trip(tmp_path):
    """A database that went through a file holds the same bytes, and its index is correct."""
    fill(tmp_path / "old", 300, expired=20)
    with opened_store(tmp_path / "old") as store:
        store.tree.insert(b"garbage", b"no record")
        assert export_sessions(store.tree, tmp_path / "out.jsonl") == 321
        expected = dict(store.tree)
    with SledStore.open(tmp_path / "new") as store, (tmp_path / "out.jsonl").open("rb") as file:
        report = import_sessions(store, file)
        assert (report.written, report.kept, report.unreadable) == (321, 0, 1)
        assert dict(store.tree) == expected
        assert store.verify_index()


@pytest.mark.parametrize("strategy", SweepStrategy)
@pytest.mark.parametrize("key", [b"", b"short", b"k" * 17])
def test_record_whose_key_is_not_an_id(tmp_path, key, strategy):
    """A record whose key does not have the length of an id round-trips through a file, and gets no index entry."""
    (record,) = fill(tmp_path / "old", 1)
    with opened_store(tmp_path / "old") as store:
        store.tree.insert(key, record.encode())
        export_sessions(store.tree, tmp_path / "out.jsonl")
        expected, pairs = check_everything(store), dict(store.tree)
    assert (expected.sessions, expected.unreadable, expected.index.stale) == (1, 1, 0)
    with SledStore.open(tmp_path / "new", strategy=strategy) as store, (tmp_path / "out.jsonl").open("rb") as file:
        assert import_sessions(store, file) == ImportReport(written=2, unreadable=1)
        found = check_everything(store)
        assert dict(store.tree) == pairs
    assert (found.sessions, found.unreadable, found.index.missing, found.index.stale) == (1, 1, 0, 0)


def test_export_permissions(tmp_path):
    """The file holds whole ids, so only its owner may read it; an existing file is not overwritten."""
    fill(tmp_path / "old", 1)
    with opened_store(tmp_path / "old") as store:
        export_sessions(store.tree, tmp_path / "out.jsonl")
        assert (tmp_path / "out.jsonl").stat().st_mode & 0o077 == 0
        with pytest.raises(TargetExists):
            export_sessions(store.tree, tmp_path / "out.jsonl")


@pytest.mark.parametrize("cut", [0, 1, 200, 5_000, 20_000])
def test_resume_export(tmp_path, cut):
    """An export that was interrupted anywhere, even inside a line, is resumed to the same complete file."""
    fill(tmp_path / "old", 100)
    with opened_store(tmp_path / "old") as store:
        whole = b"".join(export_lines(store.tree))
        (tmp_path / ".out.jsonl.partial").write_bytes(whole[:cut])
        assert export_sessions(store.tree, tmp_path / "out.jsonl", resume=True) == 100
    assert (tmp_path / "out.jsonl").read_bytes() == whole
    assert len(lines(tmp_path / "out.jsonl")) == 100


def test_import_of_large_records(run, tmp_path):
    """Records larger than `max_record_bytes` are counted and left out, whichever kind of line they are on."""
    small, large, raw = (Record(Id.new(), {"text": "x" * size}, datetime(2099, 1, 1, tzinfo=UTC)) for size in (1, 9, 9))
    key, value = (base64.b64encode(each).decode() for each in (raw.id.key, raw.encode()))
    lines = [jsonl.to_line(each.id.key, each.encode()) for each in (small, large)]
    lines.append(json.dumps({"key": key, "value": value}).encode())
    with SledStore.open(tmp_path / "storage", max_record_bytes=len(small.encode())) as store:
        assert import_sessions(store, lines) == ImportReport(written=1, too_large=2)
        assert list(store.records()) == [small]
    large.data["text"] = "x" * 65_536
    (tmp_path / "large.jsonl").write_bytes(jsonl.to_line(large.id.key, large.encode()))
    result = run("import", tmp_path / "storage", tmp_path / "large.jsonl")
    assert result.code == 3
    assert result.out == "0 sessions written; 0 existed already; 1 left out, larger than 65,536 bytes\n"


def test_repeat_import(tmp_path):
    """Existing sessions are not written again, and only `replace` overwrites changed ones."""
    records = fill(tmp_path / "old", 10)
    with opened_store(tmp_path / "old") as store:
        text = b"\n".join(export_lines(store.tree))
        changed = Record(records[0].id, {"n": "newer"}, records[0].expiry_date + timedelta(days=1))
        store.save(changed)
        assert import_sessions(store, io.BytesIO(text)).kept == 10
        assert store.load(changed.id) == changed
        report = import_sessions(store, io.BytesIO(text), replace=True)
        assert (report.written, report.kept) == (1, 9)
        assert store.load(changed.id) == records[0]
        assert store.verify_index()


def test_bad_line_is_named(tmp_path):
    """The message says which line is not a session; those before it are written."""
    fill(tmp_path / "old", 1)
    with opened_store(tmp_path / "old") as store:
        good = jsonl.to_line(*_record())
        with pytest.raises(OperationError, match="line 2"):
            import_sessions(store, io.BytesIO(good + b"\n{nonsense\n"))
        assert store.count() == 2


def test_opened_store_keeps_the_index(tmp_path, rust_storage):
    """`opened_store` neither builds nor drops an index, whatever its resolution."""
    before = contents(rust_storage)
    with opened_store(rust_storage) as store:
        assert store.resolution is None
    assert contents(rust_storage) == before
    fill(tmp_path / "coarse", 10, resolution=timedelta(minutes=1))
    before = contents(tmp_path / "coarse")
    with opened_store(tmp_path / "coarse") as store:
        assert store.resolution == timedelta(minutes=1)
    assert contents(tmp_path / "coarse") == before


def test_missing_tree_is_not_created(tmp_path):
    """A mistyped tree is an error that lists the existing names."""
    fill(tmp_path / "old", 1)
    with sled.open(tmp_path / "old") as db:
        with pytest.raises(OperationError, match="it has: __sled__default, session"):
            kept_store(db, "sessions")
        assert b"sessions" not in db.tree_names()


def _record():
    record = Record(Id.new(), {}, datetime(2099, 1, 1, tzinfo=UTC))
    return record.id.key, record.encode()
