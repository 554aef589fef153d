"""Records that other programs can write and that are valid MessagePack, but whose data is not JSON."""

from datetime import UTC, datetime

import msgspec

from sled_sessions import Id, Record
from sled_sessions.records import codec
from sled_sessions.records.json import MAX_DEPTH

ID = Id(bytes(range(16)))
LATER = datetime(2099, 1, 1, tzinfo=UTC)

VALUES = {
    "binary": b"\xc4\x01\xff",
    "extension": b"\xd4\x05\x00",
    "timestamp": b"\xd6\xff\x00\x00\x00\x00",
    "array as a key": b"\x81\x91\x01\x02",
    "number as a key": b"\x81\x01\x02",
    "NaN": b"\xcb\x7f\xf8" + bytes(6),
    "infinity": b"\xcb\xff\xf0" + bytes(6),
    "short NaN": b"\xca\x7f\xc0\x00\x00",
    "600 levels": b"\x91" * 600 + b"\x01",
    "100,000 levels": b"\x91" * 100_000 + b"\x01",
    "not UTF-8": b"\xa1\xff",
}
"""One value of a session's data each, as MessagePack."""

VALUES |= {f"{name}, nested": b"\x91" * 20 + value for name, value in VALUES.items()}


def record_with(value: bytes, id: Id = ID, expiry: datetime = LATER) -> bytes:
    """A record with this encoded value under the key `a`."""
    encode = msgspec.msgpack.encode
    return b"\x93" + encode(id.key) + b"\x81\xa1a" + value + encode(codec.to_moment(expiry))


def deepest() -> Record:
    """A record whose data has as many levels as a session may have."""
    value: object = 1
    for _ in range(MAX_DEPTH - 1):
        value = [value]
    return Record(ID, {"a": value}, LATER)
