"""Records in stores that hold them as bytes."""

from sled_sessions.errors import DecodeError
from sled_sessions.records import Record

MAX_RECORD_BYTES = 64 * 1024
"""The default limit: half of the largest page that sled keeps in its log, so no single record needs a file."""


def record_of(key: bytes, value: bytes) -> Record:
    """Decode the record stored under this key, live or expired.

    Raises:
        DecodeError: The bytes are not a valid record, or are another session's.
    """
    record = Record.decode(value)
    if record.id.key != key:
        raise DecodeError("the bytes under this id are another session's record")
    return record


def record_if_readable(key: bytes, value: bytes) -> Record | None:
    """Decode like `record_of`; None where that raises."""
    try:
        return record_of(key, value)
    except DecodeError:
        return None
