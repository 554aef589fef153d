"""Floors: the bare sled and msgspec calls of each operation of the store.

They take no locks, check nothing, read no clock and handle no errors, so no Python store on sled can be faster. Each
function reads and writes the same bytes as the store does.
"""

import struct
from collections.abc import Iterable
from datetime import datetime
from typing import Any, TypeAlias

import msgspec

from sled_sessions import Id, Record, sled
from sled_sessions.records.codec import Moment, to_microseconds, to_moment

Parts: TypeAlias = tuple[bytes, dict[str, Any], Moment]
"""The parts of a record, in the order in which they are encoded: the bytes of the id, the data, the expiry."""


class _Head(msgspec.Struct, array_like=True, gc=False):
    """A record whose expiry alone is decoded."""

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
    """A record as the encoder takes it."""
    return bytes(record.id), record.data, to_moment(record.expiry_date)


def entry(record: Record) -> bytes:
    """The record's key in an index with a resolution of one second."""
    expiry = to_microseconds(record.expiry_date)
    return bound(expiry - expiry % _SECOND) + bytes(record.id)


def bound(expiry: int) -> bytes:
    """The index key before all entries that expire at this microsecond or later."""
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
        _decode(get(key))  # type: ignore[arg-type] # every key is stored


def update(tree: sled.Tree, keys: Iterable[bytes], version: int) -> None:
    """Get, decode, change, encode, insert."""
    get, insert = tree.get, tree.insert
    for key in keys:
        record = _decode(get(key))  # type: ignore[arg-type] # every key is stored
        record[1]["visits"] = version
        insert(key, _encode(record))


def delete(tree: sled.Tree, index: sled.Tree, pairs: Iterable[tuple[bytes, bytes]]) -> None:
    """Remove each record and its entry."""
    remove, remove_entry = tree.remove, index.remove
    for key, entry in pairs:
        remove(key)
        remove_entry(entry)


def sweep_index(tree: sled.Tree, index: sled.Tree, stop: bytes) -> int:
    """Read the due entries; get and remove each record, and remove its entry."""
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
    """Read every record and decode its expiry."""
    for _key, value in tree:
        _decode_head(value)


def sweep_by_scan(tree: sled.Tree, index: sled.Tree, until: Moment) -> int:
    """Read every record and decode its expiry; for a due one: get, remove, remove its entry."""
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
    """Read every record, decode its expiry and insert an entry."""
    insert = index.insert
    for key, value in tree:
        insert(_entry_of(key, _decode_head(value).expiry), b"")


def _entry_of(key: bytes, expiry: Moment) -> bytes:
    """The index entry of a record; right for UTC dates in the year 2100, the only ones in the workload."""
    _year, ordinal, hour, minute, second, *_ = expiry
    day = _DAYS_BEFORE + ordinal - 1
    return _pack((((day * 24 + hour) * 60 + minute) * 60 + second) * _SECOND + _SIGN) + key
