"""Records and their bytes, compared with those of the Rust crate."""

import datetime as dt
import decimal
import enum
import uuid
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from json_values import JSON
from reference import read_jsonl

from sled_sessions import DecodeError, EncodeError, Id, Record
from sled_sessions.records import codec
from sled_sessions.records.json import MAX_DEPTH

VECTORS = read_jsonl("vectors.jsonl") + read_jsonl("records.jsonl")
SOME_DAY = datetime(2030, 1, 2, 3, 4, 5, 6, UTC)
ID = Id(bytes(16))

zones = st.integers(-24 * 3600 + 1, 24 * 3600 - 1).map(lambda seconds: timezone(timedelta(seconds=seconds)))
records = st.builds(
    Record,
    st.binary(min_size=16, max_size=16).map(Id),
    st.dictionaries(st.text(max_size=8), JSON, max_size=5),
    st.datetimes(timezones=st.just(UTC) | zones),
)


def _microseconds(row):
    return int(row["expiry_ns"]) // 1000


@pytest.mark.parametrize("row", VECTORS, ids=lambda row: row["id"])
def test_decodes_rust_records(row):
    """Id, data and expiry (rounded down to microseconds) are those that the Rust crate reads."""
    record = Record.decode(bytes.fromhex(row["value"]))
    assert (record.id, record.data) == (Id.parse(row["id"]), row["data"])
    assert codec.to_microseconds(record.expiry_date) == _microseconds(row)
    assert record.expiry_date.utcoffset() == timedelta(seconds=row["offset_s"])


@pytest.mark.parametrize("row", VECTORS, ids=lambda row: row["id"])
def test_encodes_the_same_bytes_as_rust(row):
    """A decoded record encodes to the bytes it came from, apart from nanoseconds below a microsecond."""
    value = bytes.fromhex(row["value"])
    whole = msgspec.msgpack.decode(value)
    whole[2][5] -= whole[2][5] % 1000
    assert Record.decode(value).encode() == msgspec.msgpack.encode(whole)
    if int(row["expiry_ns"]) % 1000 == 0:
        assert Record.decode(value).encode() == value


@given(records)
def test_round_trips(record):
    """Any JSON, with an expiry in any time zone, decodes to equal values of the same types."""
    back = Record.decode(record.encode())
    assert back == record
    assert repr(back.data) == repr(record.data)
    assert back.expiry_date.utcoffset() == record.expiry_date.utcoffset()


def test_offset_with_microseconds():
    """An expiry whose offset a record cannot hold is written in UTC, as the same moment."""
    zone = timezone(timedelta(hours=1, microseconds=7))
    record = Record(Id.new(), {}, datetime(2030, 1, 1, 12, tzinfo=zone))
    assert Record.decode(record.encode()).expiry_date == record.expiry_date
    assert codec.decode_expiry(record.encode()) == codec.to_microseconds(record.expiry_date)


@given(records)
def test_decodes_the_expiry_alone(record):
    """Decoding the expiry alone, as a sweep does, gives the same moment as decoding the whole record."""
    assert codec.decode_expiry(record.encode()) == codec.to_microseconds(record.expiry_date)


@given(st.binary(max_size=80))
@example(b"")
@example(Record(ID, {}, SOME_DAY).encode()[:-1])
@example(Record(ID, {}, SOME_DAY).encode() + b"\0")
@example(msgspec.msgpack.encode([bytes(16), {}, [2030, 1, 0, 0, 0, 0, 0, 0, 0], "a fourth element"]))
@example(msgspec.msgpack.encode([bytes(15), {}, [2030, 1, 0, 0, 0, 0, 0, 0, 0]]))
@example(msgspec.msgpack.encode([bytes(16), {}, [2030, 366, 0, 0, 0, 0, 0, 0, 0]]))
@example(msgspec.msgpack.encode([bytes(16), {}, [2030, 1, 24, 0, 0, 0, 0, 0, 0]]))
@example(msgspec.msgpack.encode([bytes(16), {}, [2030, 1, 0, 0, 0, -1, 0, 0, 0]]))
@example(msgspec.msgpack.encode([bytes(16), {}, [2030, 1, 0, 0, 0, 0, 30, 0, 0]]))
@example(msgspec.msgpack.encode([bytes(16), {}, [10**6, 1, 0, 0, 0, 0, 0, 0, 0]]))
@example(msgspec.msgpack.encode([bytes(16), {1: 2}, [2030, 1, 0, 0, 0, 0, 0, 0, 0]]))
@example(b"\x93\xc4\x10" + bytes(16) + b"\x81\xa1\xff\xc0" + b"\x99\xcd\x07\xee\x01\0\0\0\0\0\0\0")
@example(b"\x91" * 5000)
@example(b"\x93\xc4\x10" + bytes(16) + b"\x81\xa1a" + b"\x91" * 5000 + b"\xc0" + b"\x99\xcd\x07\xee\x01\0\0\0\0\0\0\0")
def test_invalid_bytes(value):
    """Any bytes either decode or raise DecodeError and nothing else, whole or for the expiry alone."""
    for read in (Record.decode, codec.decode_expiry):
        try:
            read(value)
        except DecodeError:
            continue
        assert value[:1] == b"\x93"


def test_both_decoders_refuse_the_same_moments():
    """The sweep's decoder refuses the same moments as the whole record's, so no sweep deletes such a record."""
    for moment in (
        [2030, 0, 0, 0, 0, 0, 0, 0, 0],
        [2030, 366, 0, 0, 0, 0, 0, 0, 0],
        [2030, 1, 24, 0, 0, 0, 0, 0, 0],
        [2030, 1, 0, 0, 0, 10**9, 0, 0, 0],
        [2030, 1, 0, 0, 0, 0, 24, 0, 0],
    ):
        value = msgspec.msgpack.encode([bytes(16), {}, moment])
        for read in (Record.decode, codec.decode_expiry):
            with pytest.raises(DecodeError):
                read(value)


@pytest.mark.parametrize("year", [-5, 0])
def test_years_before_pythons_calendar(year):
    """A year that only Rust's calendar has decodes to Python's first moment; in microseconds it is even earlier."""
    value = msgspec.msgpack.encode([bytes(16), {}, [year, 1, 0, 0, 0, 0, 0, 0, 0]])
    assert Record.decode(value).expiry_date == datetime.min.replace(tzinfo=UTC)
    assert codec.decode_expiry(value) < codec.to_microseconds(datetime.min.replace(tzinfo=UTC))


@pytest.mark.parametrize(("microseconds", "nearest"), [(-(2**62), datetime.min), (2**62, datetime.max)])
def test_moments_outside_pythons_calendar(microseconds, nearest):
    """A moment of an index outside Python's calendar becomes the nearest one inside."""
    assert codec.from_microseconds(microseconds) == nearest.replace(tzinfo=UTC)


class Colour(enum.StrEnum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ((1, (2,)), [1, [2]]),
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        (type("Title", (str,), {})("x"), "x"),
        (type("Price", (float,), {})(1.5), 1.5),
        (type("Basket", (dict,), {})(a=(1,)), {"a": [1]}),
        ([1, {"a": Level.HIGH}], [1, {"a": 3}]),
        (-(2**63), -(2**63)),
        (2**64 - 1, 2**64 - 1),
    ],
)
def test_other_types_become_json_types(given, stored):
    """Tuples, and subclasses of JSON's types, are stored as the plain type, as by `json.dumps`."""
    back = Record.decode(Record(ID, {"value": given}, SOME_DAY).encode()).data["value"]
    assert back == stored
    assert type(back) is type(stored)


def _nested(levels, inner=None):
    value = inner
    for _ in range(levels):
        value = [value]
    return value


_cyclic: list[object] = []
_cyclic.append(_cyclic)


@pytest.mark.parametrize(
    ("data", "path", "cure"),
    [
        ({"a": b"x"}, "data['a']", "base64"),
        ({"a": [1, {"b": {2}}]}, "data['a'][1]['b']", "sorted"),
        ({"a": float("nan")}, "data['a']", "None"),
        ({"a": [float("-inf")]}, "data['a'][0]", "None"),
        ({"a": datetime(2030, 1, 1)}, "data['a']", "isoformat"),
        ({"a": dt.date(2030, 1, 1)}, "data['a']", "isoformat"),
        ({"a": decimal.Decimal(1)}, "data['a']", "str()"),
        ({"a": uuid.UUID(int=1)}, "data['a']", "str()"),
        ({"a": object()}, "data['a']", "convert"),
        ({1: "a"}, "data", "keys are text"),
        ({"a": {None: 1}}, "data['a']", "keys are text"),
        ({"a": 2**64}, "data['a']", "64 bits"),
        ({"a": -(2**63) - 1}, "data['a']", "64 bits"),
        ({"a": ["\ud800"]}, "data['a'][0]", "surrogate"),
        ({"a": {"\udfff": 1}}, "data['a']: a key", "surrogate"),
        ({"a": _nested(MAX_DEPTH)}, "data['a'][0]", f"{MAX_DEPTH} levels"),
        ({"a": _cyclic}, "data['a'][0]", f"{MAX_DEPTH} levels"),
        ([("a", 1)], "data", "dict"),
    ],
)
def test_refuses_values_outside_json(data, path, cure):
    """The error names the path to the offending value, and the cure."""
    with pytest.raises(EncodeError) as caught:
        Record(ID, data, SOME_DAY).encode()
    assert str(caught.value).startswith(path)
    assert cure in str(caught.value)


def test_errors_hold_no_values():
    """The error shows where the offending value is, but not the value."""
    with pytest.raises(EncodeError) as caught:
        Record(ID, {"a": b"hunter2"}, SOME_DAY).encode()
    assert "hunter2" not in str(caught.value)


def test_deepest_data():
    """Data with the allowed number of levels is written and read."""
    data = {"a": _nested(MAX_DEPTH - 1)}
    assert Record.decode(Record(ID, data, SOME_DAY).encode()).data == data


def test_refuses_naive_expiry():
    """An expiry without a time zone is refused when the record is made, or if set later, when it is encoded."""
    with pytest.raises(EncodeError, match="time zone"):
        Record(ID, {}, datetime(2030, 1, 1))
    record = Record(ID, {}, SOME_DAY)
    record.expiry_date = datetime(2030, 1, 1)
    with pytest.raises(EncodeError, match="time zone"):
        record.encode()
    with pytest.raises(EncodeError, match="datetime"):
        Record(ID, {}, 12)


def test_repr_hides_id_and_values():
    """A record's repr shows its keys, but neither its whole id nor any value."""
    record = Record(Id.new(), {"password": "hunter2"}, SOME_DAY)
    assert "hunter2" not in repr(record)
    assert str(record.id) not in repr(record)
    assert "password" in repr(record)


@pytest.mark.parametrize("edge", [datetime.max, datetime.min])
def test_offset_that_leads_out_of_the_calendar(edge):
    """An offset with microseconds, which needs UTC, is refused where the UTC year is outside the calendar."""
    sign = 1 if edge is datetime.min else -1
    zone = timezone(sign * timedelta(hours=1, microseconds=1))
    with pytest.raises(EncodeError, match="years 1 to 9999"):
        Record(Id.new(), {}, edge.replace(tzinfo=zone)).encode()
