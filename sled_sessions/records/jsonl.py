"""Records as JSON Lines: readable text that converts back to exactly the same bytes.

A line is an object with `id`, `expiry_date` (RFC 3339, with nanoseconds and the record's offset) and `data`. If these
alone would not reproduce the record's bytes, as with a 32-bit float that a Rust program wrote, the line has the bytes
in base64 as `value` too. Bytes that are not a valid record become a line of `key` and `value`, both in base64.
"""

import re
from base64 import b64decode, b64encode
from contextlib import suppress
from datetime import date, timedelta
from typing import Any

import msgspec

from sled_sessions.display.masking import printable_json
from sled_sessions.errors import DecodeError
from sled_sessions.records import codec
from sled_sessions.records.record import Id


class _Record(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    key: bytes
    data: dict[str, Any]
    moment: codec.Moment


class _Line(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    id: str | None = None
    expiry_date: str | None = None
    data: dict[str, Any] | None = None
    key: str | None = None
    value: str | None = None


_read_record = msgspec.msgpack.Decoder(_Record).decode
_write_record = msgspec.msgpack.Encoder().encode
_read_line = msgspec.json.Decoder(_Line).decode
_write_line = msgspec.json.Encoder().encode

_INVALID = "not a session in JSON Lines format"
_MOMENT = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(Z|([+-])(\d\d):(\d\d)(?::(\d\d))?)", re.ASCII
)


def to_line(key: bytes, value: bytes) -> bytes:
    """The line for a key and its value in a store, without a line break."""
    whole = b64encode(value).decode()
    try:
        line = _readable(key, value)
        text = _write_line(line)
        if from_line(text) != (key, value):
            line.value = whole
            text = _write_line(line)
    except (msgspec.DecodeError, ValueError, TypeError, OverflowError, RecursionError):  # invalid, or not JSON
        text = _write_line(_Line(key=b64encode(key).decode(), value=whole))
    return printable_json(text)


def from_line(line: bytes | str) -> tuple[bytes, bytes]:
    """The key and value that `to_line` was given; DecodeError if `line` is not in its format or a field is invalid."""
    try:
        return _value_of(_read_line(line))
    except (msgspec.DecodeError, UnicodeError, OverflowError, RecursionError) as error:
        raise DecodeError(f"{_INVALID}: {error}") from None


def _readable(key: bytes, value: bytes) -> _Line:
    """The line without `value`. Raises unless the bytes are a valid record of this key, in Python's calendar."""
    codec.decode_expiry(value)
    record = _read_record(value)
    if record.key != key:
        raise DecodeError("the record has another id")
    return _Line(str(Id(key)), _text_of(record.moment), record.data)


def _value_of(line: _Line) -> tuple[bytes, bytes]:
    if line.id is not None:
        key = Id.parse(line.id).key
    elif line.key is not None and line.value is not None:
        key = _base64(line.key)
    else:
        raise DecodeError(f"{_INVALID}: it needs an id, or a key and a value")
    if line.value is not None:
        return key, _base64(line.value)
    if line.expiry_date is None or line.data is None:
        raise DecodeError(f"{_INVALID}: expiry_date or data is missing")
    value = _write_record((key, line.data, _moment_of(line.expiry_date)))
    codec.decode_expiry(value)  # raises for an invalid hour or offset
    return key, value


def _text_of(moment: codec.Moment) -> str:
    year, ordinal, hour, minute, second, nanosecond, hours, minutes, seconds = moment
    day = date(year, 1, 1) + timedelta(days=ordinal - 1)
    fraction = f".{nanosecond:09}" if nanosecond else ""
    sign = "-" if min(hours, minutes, seconds) < 0 else "+"
    offset = f"{sign}{abs(hours):02}:{abs(minutes):02}" + (f":{abs(seconds):02}" if seconds else "")
    return f"{day}T{hour:02}:{minute:02}:{second:02}{fraction}{'Z' if offset == '+00:00' else offset}"


def _moment_of(text: str) -> codec.Moment:
    if (found := _MOMENT.fullmatch(text)) is not None:
        with suppress(ValueError):  # there is no such day
            day = date(int(found[1]), int(found[2]), int(found[3]))
            time = int(found[4]), int(found[5]), int(found[6]), int((found[7] or "").ljust(9, "0"))
            sign = -1 if found[9] == "-" else 1
            hours, minutes, seconds = (sign * int(part or 0) for part in found.group(10, 11, 12))
            return day.year, day.timetuple().tm_yday, *time, hours, minutes, seconds
    raise DecodeError("expiry_date must be a moment such as 2030-01-31T12:00:00.5Z or 2030-01-31T12:00:00+01:00")


def _base64(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except ValueError:
        raise DecodeError(f"{_INVALID}: key or value is not base64") from None
