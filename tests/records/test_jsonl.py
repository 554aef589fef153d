"""Records as JSON Lines: invalid lines are refused, and any MessagePack round-trips."""

import math
from datetime import UTC, datetime

import msgspec
import pytest

from sled_sessions import DecodeError, Id
from sled_sessions.records import jsonl

KEY = b"k" * 16
MOMENT = (2030, 31, 12, 0, 0, 0, 0, 0, 0)


def line(data: str, expiry_date: str = "2030-01-31T12:00:00Z") -> str:
    return f'{{"id":"{Id(KEY)}","expiry_date":"{expiry_date}","data":{data}}}'


def value(data: object, moment: object = MOMENT) -> bytes:
    return msgspec.msgpack.encode((KEY, data, moment))


@pytest.mark.parametrize(
    "text",
    [
        line('{"n":18446744073709551616}'),
        line('{"n":-9223372036854775809}'),
        line(f'{{"n":{"1" * 400}}}'),
        line('{"n":1e400}'),
        line('{"text":"\\ud800"}'),
        line("{}", "99999-01-01T00:00:00Z"),
        line("{}", "2030-01-01T00:00:00+99:00"),
        line("{}", "٢٠٣٠-01-01T00:00:00Z"),
        line("{}", f"2030-01-01T00:00:00.{'9' * 400}Z"),
        '{"id":18446744073709551616}',
        '{"id":"\ud800"}',
    ],
)
def test_refuses_values_outside_a_record(text):
    """A number, text or date that a record cannot hold, or a date in digits other than ASCII's, raises DecodeError."""
    with pytest.raises(DecodeError):
        jsonl.from_line(text)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2030-01-31T12:00:00.5Z", (2030, 31, 12, 0, 0, 500_000_000, 0, 0, 0)),
        ("2030-01-31T12:00:00-00:30", (2030, 31, 12, 0, 0, 0, 0, -30, 0)),
        ("2030-01-31T12:00:00-05:30", (2030, 31, 12, 0, 0, 0, -5, -30, 0)),
        ("2030-01-31T12:00:00+01:00:15", (2030, 31, 12, 0, 0, 0, 1, 0, 15)),
    ],
)
def test_moments(text, moment):
    """A moment is written and read in the RFC 3339 form that people and other programs use."""
    assert jsonl.from_line(line("{}", text)) == (KEY, value({}, moment))
    written = msgspec.json.decode(jsonl.to_line(KEY, value({}, moment)))
    assert written == {"id": str(Id(KEY)), "expiry_date": text.replace(".5Z", ".500000000Z"), "data": {}}


@pytest.mark.parametrize(
    "data",
    [
        {"n": math.nan},
        {"n": math.inf},
        {"n": b"bytes"},
        {"n": datetime(2030, 1, 1, tzinfo=UTC)},
        {"n": {1: 2}},
        {"n": {(1, 2): 3}},
        {"n": msgspec.msgpack.Ext(5, b"x")},
        {"n": [2**64 - 1, -(2**63), -0.0, 1e308]},
    ],
)
def test_values_outside_json_round_trip(data):
    """A record with values that JSON cannot hold, as another program may write them, round-trips byte for byte."""
    assert jsonl.from_line(jsonl.to_line(KEY, value(data))) == (KEY, value(data))


@pytest.mark.parametrize("moment", [(9999, 366, *MOMENT[2:]), (-1, 1, *MOMENT[2:]), (2030, 2**40, *MOMENT[2:])])
def test_days_outside_the_calendar_round_trip(moment):
    """A record whose expiry is not in Python's calendar round-trips byte for byte."""
    assert jsonl.from_line(jsonl.to_line(KEY, value({}, moment))) == (KEY, value({}, moment))
