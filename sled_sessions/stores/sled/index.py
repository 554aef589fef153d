"""The expiry index: a sled tree whose keys are sorted by the time a session expires.

An entry's key is 8 bytes of expiry, big-endian with the sign bit flipped so that bytes sort as numbers do
(microseconds since the Unix epoch, rounded down to the resolution), then the 16 bytes of the record's key; its value
is empty. A sweep reads the front of the tree, up to now, and nothing else.

Entries are hints: each is checked against its record before anything is deleted. One too many costs a look; one too
few would keep an expired record for ever, so a writer adds the entry before the record.

The index of the tree `session` is the tree `session:expiry`. A marker in a third tree, `session:meta`, says that the
index is complete, and at which resolution.
"""

import struct
from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated

import msgspec

from sled_sessions import sled
from sled_sessions.errors import SessionError
from sled_sessions.records.record import KEY_LENGTH

ENTRIES, META = b":expiry", b":meta"
"""The suffixes that the names of an index's trees add to the name of the record tree."""

VERSION = 1
"""The version of the index's format."""

ENTRY_LENGTH = 8 + KEY_LENGTH
"""Bytes in an entry's key."""

_MARKER = b"expiry_index"
_SIGN = 1 << 63
_LAST = (1 << 64) - 1
_BIG_ENDIAN = struct.Struct(">Q")
_pack = _BIG_ENDIAN.pack


class TreesInUse(SessionError, ValueError):
    """The index cannot be created: a tree of its name holds something else."""


class Marker(msgspec.Struct):
    """The marker in an index's meta tree; its resolution, in microseconds, is 0 while the index is incomplete."""

    version: int
    resolution_us: Annotated[int, msgspec.Meta(ge=0, le=_SIGN - 1)]


class ExpiryIndex:
    """The entries of a record tree, and the marker that says whether they are complete.

    Expiries are rounded down to `resolution`; `step` is the same in microseconds. `tree` holds the entries.
    """

    def __init__(self, records: sled.Tree, resolution: timedelta) -> None:
        self.step = step_of(resolution)
        self.resolution = resolution
        self.tree = records.db.open_tree(records.name + ENTRIES)
        self.insert, self.remove = self.tree.insert, self.tree.remove
        self._meta = records.db.open_tree(records.name + META)

    def entry(self, microseconds: int, key: bytes) -> bytes:
        """The entry of a record with this expiry."""
        return _pack(microseconds - microseconds % self.step + _SIGN) + key

    def due(self, now: int, after: bytes | None = None) -> Iterator[bytes]:
        """The entries that may have expired at `now`: the earlier ones and those of the current step."""
        start = b"" if after is None else after + b"\0"
        return self.tree.keys(start, _bound(now - now % self.step + 1))

    def between(self, start: int | None, stop: int | None) -> Iterator[tuple[int, bytes]]:
        """The rounded expiries from `start` on and before `stop`, in microseconds, each with its record's key."""
        keys = self.tree.keys(None if start is None else _bound(start), None if stop is None else _bound(stop))
        return (_split(key) for key in keys if len(key) == ENTRY_LENGTH)  # the next sweep removes malformed entries

    @property
    def is_complete(self) -> bool:
        """Whether the marker says that the index was built to the end, at this resolution."""
        return marker_in(self._meta) == Marker(VERSION, self.step)

    def mark_complete(self) -> None:
        """Record that every record has its entry."""
        _mark(self._meta, self.step)

    def mark_incomplete(self) -> None:
        """Record that entries may be missing: call this before anything that an interruption would leave half done."""
        _mark(self._meta, 0)


def step_of(resolution: timedelta) -> int:
    """The step of an index in microseconds; TypeError or ValueError for a wrong resolution."""
    if not isinstance(resolution, timedelta):
        raise TypeError(f"resolution must be a timedelta, not {type(resolution).__name__}")
    step = resolution // timedelta(microseconds=1)
    if not 1 <= step < _SIGN:
        raise ValueError("resolution must be from one microsecond to 292,000 years")
    return step


def open_index(records: sled.Tree, resolution: timedelta) -> ExpiryIndex:
    """Open the index of a record tree, complete or not, creating its trees if necessary.

    Raises:
        TreesInUse: A tree of the index's name holds something else; nothing was written.
    """
    step_of(resolution)  # refuse a wrong one before trees are created
    db = records.db
    if not index_trees(db, records.name):
        for name in (records.name + META, records.name + ENTRIES):
            if not _is_empty(db, name):
                raise TreesInUse(
                    f"{_text(records.name)!r} cannot have an expiry index, because the tree {_text(name)!r} holds "
                    "something else: keep the sessions in a tree of another name, or without an index, with "
                    "SweepStrategy.FULL_SCAN"
                )
    return ExpiryIndex(records, resolution)


def kept_index(records: sled.Tree) -> ExpiryIndex | None:
    """The index that a record tree has; None if it has none, or one that is visibly incomplete."""
    db = records.db
    names = index_trees(db, records.name)
    marker = marker_in(db.open_tree(names[0])) if names else None
    if marker is None or marker.version != VERSION or not marker.resolution_us or names[1] not in db.tree_names():
        return None
    index = ExpiryIndex(records, timedelta(microseconds=marker.resolution_us))
    return index if seem_to_agree(records, index.tree) else None


def seem_to_agree(records: sled.Tree, entries: sled.Tree) -> bool:
    """Whether both trees are empty or neither is: false if one was dropped, or imported, without the other."""
    return records.is_empty() == entries.is_empty()


def index_trees(db: sled.Db, records: bytes) -> tuple[bytes, ...]:
    """The names of the trees that hold the index of these records, the marker's first; none without an index.

    A program may have trees of its own with these names: only the marker makes them an index's.
    """
    meta = records + META
    if _is_empty(db, meta) or _MARKER not in db.open_tree(meta):
        return ()
    return meta, records + ENTRIES


def mark_incomplete(db: sled.Db, records: bytes) -> None:
    """Record that the index of these records, if there is one, may lack entries."""
    if names := index_trees(db, records):
        _mark(db.open_tree(names[0]), 0)


def drop_index(db: sled.Db, records: bytes) -> None:
    """Drop the index of these records, and nothing else that shares its trees.

    An interruption leaves a part of the entries: mark the index incomplete first, unless it is about to be rebuilt.
    """
    if not (names := index_trees(db, records)):
        return
    meta = db.open_tree(names[0])
    db.drop_tree(names[1])
    meta.remove(_MARKER)
    if meta.is_empty():
        db.drop_tree(meta.name)


def marker_in(meta: sled.Tree) -> Marker | None:
    """The marker in a meta tree; None if there is none, or it cannot be decoded."""
    found = meta.get(_MARKER)
    try:
        return None if found is None else msgspec.msgpack.decode(found, type=Marker)
    except msgspec.DecodeError:
        return None


def _mark(meta: sled.Tree, step: int) -> None:
    meta.insert(_MARKER, msgspec.msgpack.encode(Marker(VERSION, step)))


def _is_empty(db: sled.Db, name: bytes) -> bool:
    return name not in db.tree_names() or db.open_tree(name).is_empty()


def _text(name: bytes) -> str:
    return name.decode(errors="backslashreplace")


def _split(entry: bytes) -> tuple[int, bytes]:
    return _BIG_ENDIAN.unpack_from(entry)[0] - _SIGN, entry[-KEY_LENGTH:]


def _bound(microseconds: int) -> bytes:
    return _pack(min(max(microseconds + _SIGN, 0), _LAST))
