"""What is JSON: the check of a record and of a session is compared with the plain definition."""

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_model import is_exactly_json, to_plain
from json_values import NEARLY_JSON, Colour

from sled_sessions import EncodeError, Id, Record, Session
from sled_sessions.records import codec
from sled_sessions.records.json import MAX_DEPTH, is_json

SOME_DAY = datetime(2030, 1, 2, tzinfo=UTC)
KEY = bytes(16)
pack = msgspec.msgpack.encode


def nested(levels, inner=None, wrap=lambda value: [value]):
    for _ in range(levels):
        inner = wrap(inner)
    return inner


def deep(wrap, inner=None):
    """Examples that have as many levels as are allowed, one less and one more, as the value of a key."""
    return [{"a": nested(MAX_DEPTH - 1 + more, inner, wrap)} for more in (-1, 0, 1, 2, MAX_DEPTH)]


CYCLE: dict[str, object] = {"a": [1]}
CYCLE["a"] = [1, CYCLE]
DEEP = [
    *deep(lambda value: [value]),
    *deep(lambda value: {"é": value}),
    *deep(lambda value: (value,)),
    *deep(lambda value: ["ab" * 300, 1.5, value, None], "\ud800"),
    *deep(lambda value: {"first": [], "b": value}, [2**64]),
    *deep(lambda value: [value, value] if isinstance(value, float) else [value], float("nan")),
    CYCLE,
]


def outcome(encode):
    """What a call returns, or the message of the EncodeError that it raises."""
    try:
        return encode()
    except EncodeError as error:
        return str(error)


def assert_record_follows(data):
    expected = outcome(lambda: pack((KEY, to_plain(data), codec.to_moment(SOME_DAY))))
    assert outcome(lambda: codec.encode(KEY, data, SOME_DAY)) == expected


def assert_session_follows(data):
    session = Session(lambda: Record(Id.new(), {"list": []}, SOME_DAY))

    def set_all():
        session.update(data)
        return pack(session.changes().changed)

    assert outcome(set_all) == outcome(lambda: pack(to_plain(data, "session")))
    session = Session(lambda: Record(Id.new(), {"list": []}, SOME_DAY))
    session["list"].append(data)
    expected = outcome(lambda: pack(to_plain({"list": [data]}, "session")))
    assert outcome(lambda: pack(session.changes().changed)) == expected


@given(st.dictionaries(st.text(max_size=3), NEARLY_JSON, max_size=3))
def test_a_record_follows_the_definition(data):
    """A record's data is encoded as the definition converts it, or refused with the definition's message."""
    assert_record_follows(data)


@given(st.dictionaries(st.text(max_size=3) | st.sampled_from(["\ud800", Colour.RED]), NEARLY_JSON, max_size=1))
def test_a_session_follows_the_definition(data):
    """A session accepts a value as the definition does, whether it is set or appended to a list that is stored."""
    assert_session_follows(data)


@pytest.mark.parametrize("data", [*DEEP, {"a" * 100: nested(MAX_DEPTH)}])
def test_deep_values_follow_the_definition(data):
    """Records and sessions accept values up to exactly the allowed depth, whatever else they hold."""
    assert_record_follows(data)
    assert_session_follows(data)


@given(NEARLY_JSON, st.integers(0, 5))
def test_the_check_is_exact(value, levels):
    """`is_json` says of any value whether it has JSON's own types alone, and no more levels than allowed."""
    assert is_json(value, levels) is is_exactly_json(value, levels)


@pytest.mark.parametrize("data", DEEP)
def test_the_check_is_exact_for_deep_values(data):
    """`is_json` counts the levels exactly, those of a container that holds itself too."""
    for levels in (MAX_DEPTH - 1, MAX_DEPTH, MAX_DEPTH + 1):
        assert is_json(data, levels) is is_exactly_json(data, levels)
