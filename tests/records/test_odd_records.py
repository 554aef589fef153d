"""Records whose data is not JSON."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_values import JSON
from odd_records import ID, LATER, VALUES, deepest, record_with

from sled_sessions import DecodeError, Record
from sled_sessions.records import codec


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_data_outside_json(value):
    """Data that JSON cannot hold raises DecodeError, whatever level it is on, and the expiry can be read if it can."""
    stored = record_with(value)
    with pytest.raises(DecodeError, match="not a valid session record"):
        Record.decode(stored)
    with pytest.raises(DecodeError):
        Record.decode_live(ID, stored, LATER)
    assert Record.decode_if_readable(ID.key, stored) is None
    if len(value) < 1000:
        assert codec.decode_expiry(stored) == codec.to_microseconds(LATER)


@pytest.mark.parametrize("levels", [0, 1, 4, 5, 6, 7, 100, 511])
def test_depth(levels):
    """Data is readable at any depth that a session may have."""
    expected = json.loads("[" * levels + '"x"' + "]" * levels)
    assert Record.decode(record_with(b"\x91" * levels + b"\xa1x")).data["a"] == expected


def test_deepest_record():
    """A record at the limit of depth survives encoding and decoding."""
    assert Record.decode(deepest().encode()) == deepest()


@given(st.dictionaries(st.text(max_size=4), JSON, max_size=4), st.data())
def test_changed_bytes(data, draw):
    """A record with any byte changed, or cut off anywhere, is refused by DecodeError or is a record of JSON data."""
    value = bytearray(Record(ID, data, LATER).encode())
    place = draw.draw(st.integers(0, len(value) - 1))
    value[place] = draw.draw(st.integers(0, 255))
    for changed in (bytes(value), bytes(value[:place]), bytes(value) + b"\xc0"):
        with suppress(DecodeError):
            Record.decode(changed).encode()
