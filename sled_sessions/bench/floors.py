"""Floors: the bare sled and msgspec calls that an operation of the store consists of, and nothing else.

No locks, no checks, no clock, no error handling: what is left is the price of the engine and of the encoding, which
no store on sled can beat from Python. Each function does the same reads and writes of the same bytes as the store.
"""

import struct
from collections.abc import Iterable
from datetime import datetime
from typing import Any, TypeAlias

import msgspec

from sled_sessions import Id, Record, sled
from sled_sessions.records.codec import Moment, to_microseconds, to_moment

Parts: TypeAlias = tuple[bytes, dict[str, Any], Moment]
"""What is encoded: the id's bytes, the data, the expiry."""


class _Head(msgspec.Struct, array_like=True, gc=False):
    """A record of which only the expiry is decoded."""

    id: msgspec.Raw
    data: msgspec.Raw
    expiry: Moment


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode
_decode_head = msgspec.msgpack.Decoder(_Head).decode
_pack = struct.Struct(">Q").pack
_SIGN = 1 << 63
_SECOND = 1_000_000
_DAYS_BEFORE = (datetime(2100, 1, 1) - datetime(1970, 1, 1)).days


def parts(record: Record) -> Parts:
    """A record as its encoder wants it."""
    return bytes(record.id), record.data, to_moment(record.expiry_date)


def entry(record: Record) -> bytes:
    """A record's key in an index whose resolution is a second."""
    expiry = to_microseconds(record.expiry_date)
    return bound(expiry - expiry % _SECOND) + bytes(record.id)


def bound(expiry: int) -> bytes:
    """Where the entries begin that expire at this microsecond or later."""
    return _pack(expiry + _SIGN)


def keys(ids: Iterable[Id]) -> list[bytes]:
    """The keys of sessions."""
    return [bytes(id) for id in ids]


def save(tree: sled.Tree, records: Iterable[Parts]) -> None:
    """Encode, insert."""
    insert = tree.insert
    for each in records:
        insert(each[0], _encode(each))


def load(tree: sled.Tree, keys: Iterable[bytes]) -> None:
    """Get, decode."""
    get = tree.get
    for key in keys:
        _decode(get(key))  # type: ignore[arg-type] # they are all there


def update(tree: sled.Tree, keys: Iterable[bytes], version: int) -> None:
    """Get, decode, change, encode, insert."""
    get, insert = tree.get, tree.insert
    for key in keys:
        record = _decode(get(key))  # type: ignore[arg-type]
        record[1]["visits"] = version
        insert(key, _encode(record))


def delete(tree: sled.Tree, index: sled.Tree, pairs: Iterable[tuple[bytes, bytes]]) -> None:
    """Remove the record, remove its entry."""
    remove, remove_entry = tree.remove, index.remove
    for key, entry in pairs:
        remove(key)
        remove_entry(entry)


def sweep_index(tree: sled.Tree, index: sled.Tree, stop: bytes) -> int:
    """Range over the due entries; a get and two removes for each."""
    get, remove, remove_entry = tree.get, tree.remove, index.remove
    deleted = 0
    for entry in index.keys(b"", stop):
        key = entry[8:]
        get(key)
        remove(key)
        remove_entry(entry)
        deleted += 1
    return deleted


def scan(tree: sled.Tree) -> None:
    """Iterate all pairs, decode the expiry of each."""
    for _key, value in tree:
        _decode_head(value)


def sweep_by_scan(tree: sled.Tree, index: sled.Tree, until: Moment) -> int:
    """Iterate all pairs, decode the expiry of each; a get and two removes for the due ones."""
    get, remove, remove_entry = tree.get, tree.remove, index.remove
    deleted = 0
    for key, value in tree:
        expiry = _decode_head(value).expiry
        if expiry <= until:
            get(key)
            remove(key)
            remove_entry(_entry_of(key, expiry))
            deleted += 1
    return deleted


def build_index(tree: sled.Tree, index: sled.Tree) -> None:
    """Iterate all pairs, decode the expiry of each, insert an entry."""
    insert = index.insert
    for key, value in tree:
        insert(_entry_of(key, _decode_head(value).expiry), b"")


def _entry_of(key: bytes, expiry: Moment) -> bytes:
    """An entry that is right for dates in UTC in the year 2100, where the workload's are."""
    _year, ordinal, hour, minute, second, *_ = expiry
    day = _DAYS_BEFORE + ordinal - 1
    return _pack((((day * 24 + hour) * 60 + minute) * 60 + second) * _SECOND + _SIGN) + key
