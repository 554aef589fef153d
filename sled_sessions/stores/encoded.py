"""Records on their way into and out of a store that holds them as bytes."""

from datetime import datetime

from sled_sessions.errors import DecodeError, RecordTooLarge
from sled_sessions.records import Id, Record, codec

MAX_RECORD_BYTES = 64 * 1024
"""The default limit: half of what sled keeps as one page in its log, so that no record alone needs a file."""


def encode_within(record: Record, max_bytes: int) -> tuple[bytes, int]:
    """The record's bytes, and its expiry in microseconds since the Unix epoch.

    Raises:
        RecordTooLarge: They are more than `max_bytes`.
        EncodeError: JSON cannot hold the data, or the expiry is naive.
    """
    value = codec.encode(record.id.key, record.data, record.expiry_date, record.is_checked)
    if len(value) > max_bytes:
        raise RecordTooLarge(
            f"the record has {len(value):,} bytes, and max_record_bytes is {max_bytes:,}; "
            "keep what is large elsewhere and its key in the session"
        )
    return value, codec.to_microseconds(record.expiry_date)


def decode_live(id: Id, value: bytes, now: datetime) -> Record | None:
    """The record that lies under this id; None when it has expired.

    Raises:
        DecodeError: The bytes are no record, or another session's.
    """
    key, data, expiry_date = codec.decode(value)
    if key != id.key:
        raise _not_its_record()
    if expiry_date <= now:
        return None
    record = Record(id, data, expiry_date)
    record.stored = value
    return record


def record_of(key: bytes, value: bytes) -> Record:
    """The record that lies under this key, expired or not: what `load` would return of a live one.

    Raises:
        DecodeError: The bytes are no record, or another session's.
    """
    record = Record.decode(value)
    if record.id.key != key:
        raise _not_its_record()
    return record


def record_if_readable(key: bytes, value: bytes) -> Record | None:
    """The same, or None where that raises."""
    try:
        return record_of(key, value)
    except DecodeError:
        return None


def _not_its_record() -> DecodeError:
    return DecodeError("the bytes under this id are the record of another one")
