"""Records on their way into and out of a store that holds them as bytes."""

from datetime import datetime

from sled_sessions.errors import DecodeError, RecordTooLarge
from sled_sessions.records import Id, Record

MAX_RECORD_BYTES = 64 * 1024
"""The default limit; sled puts values over about 128 KB into files of their own, and never deletes those."""


def encode_within(record: Record, max_bytes: int) -> bytes:
    """The record's bytes.

    Raises:
        RecordTooLarge: They are more than `max_bytes`.
        EncodeError: JSON cannot hold the data.
    """
    value = record.encode()
    if len(value) > max_bytes:
        raise RecordTooLarge(
            f"the record has {len(value):,} bytes, and max_record_bytes is {max_bytes:,}; "
            "keep what is large elsewhere and its key in the session"
        )
    return value


def decode_live(id: Id, value: bytes, now: datetime) -> Record | None:
    """The record that lies under this id; None when it has expired.

    Raises:
        DecodeError: The bytes are no record, or another session's.
    """
    record = Record.decode(value)
    if record.id != id:
        msg = "the bytes under this id are the record of another one"
        raise DecodeError(msg)
    return record if record.expiry_date > now else None
