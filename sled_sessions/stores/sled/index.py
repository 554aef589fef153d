"""The expiry index: a sled tree whose keys are sorted by the moment a session expires.

An entry's key is 8 bytes of expiry, big-endian with the sign bit flipped so that bytes sort as numbers do
(microseconds since the Unix epoch, rounded down to the resolution), then the 16 bytes of the record's key; its value
is empty. A sweep reads the front of the tree, up to now, and nothing else.

Entries are hints: each one is checked against its record before anything is deleted. One too many costs a look; one
too few would keep an expired record for ever, so writers add an entry before they write the record it is for.
"""

import struct
from collections.abc import Iterator
from datetime import timedelta

import msgspec

from sled_sessions import sled
from sled_sessions.errors import SessionError
from sled_sessions.records.id import KEY_LENGTH

ENTRIES, META = b":expiry", b":meta"
"""What the names of an index's trees end with, behind the name of the tree of the records."""

VERSION = 1
"""Of the index's format."""

ENTRY_LENGTH = 8 + KEY_LENGTH
"""Bytes of an entry's key."""

_MARKER = b"expiry_index"
_SIGN = 1 << 63
_LAST = (1 << 64) - 1
_BIG_ENDIAN = struct.Struct(">Q")
_pack = _BIG_ENDIAN.pack


class TreesInUse(SessionError, ValueError):
    """An index cannot lie where it was told to: a tree there holds something else."""


class Marker(msgspec.Struct, omit_defaults=True):
    """What lies in the meta tree of an index.

    Attributes:
        version: Of the format.
        resolution_us: The step of the index, in microseconds; 0 while it is being built.
        tree: Where the entries lie, if not in the sibling.
    """

    version: int
    resolution_us: int
    tree: bytes = b""


class ExpiryIndex:
    """Entries in one tree, and in another the marker that says they are whole, and at which resolution.

    Args:
        entries: The tree of the entries.
        meta: The tree of the marker.
        resolution: The step that expiries are rounded down to; `step` is the same in microseconds.

    Attributes:
        tree: The entries' tree; `insert` and `remove` are its own.
    """

    def __init__(self, entries: sled.Tree, meta: sled.Tree, resolution: timedelta) -> None:
        self.step = step_of(resolution)
        self._meta = meta
        self.tree = entries
        self.insert, self.remove = entries.insert, entries.remove
        self.resolution = resolution

    def entry(self, microseconds: int, key: bytes) -> bytes:
        """The entry of a record that expires then."""
        return _pack(microseconds - microseconds % self.step + _SIGN) + key

    def due(self, now: int, after: bytes | None = None) -> Iterator[bytes]:
        """The entries that may have expired at `now`: those before it and those of the step that is running."""
        start = b"" if after is None else after + b"\0"
        return self.tree.keys(start, _bound(now - now % self.step + 1))

    def between(self, start: int | None, stop: int | None) -> Iterator[tuple[int, bytes]]:
        """The rounded expiries from `start` on and before `stop`, in microseconds, each with its record's key."""
        keys = self.tree.keys(None if start is None else _bound(start), None if stop is None else _bound(stop))
        return (_split(key) for key in keys if len(key) == ENTRY_LENGTH)  # what else lies here is for the next sweep

    def first(self) -> int | None:
        """The first expiry, rounded down, in microseconds."""
        return next((expiry for expiry, _ in self.between(None, None)), None)

    @property
    def is_whole(self) -> bool:
        """Whether the index was built, to the end and at this resolution."""
        return marker_in(self._meta) == _marker(self._meta, self.tree, self.step)

    def mark_whole(self) -> None:
        """Note that every record has its entry now."""
        _mark(self._meta, self.tree, self.step)

    def unmark(self) -> None:
        """Note that not every record may have its entry: before anything is done that an interruption leaves so."""
        _mark(self._meta, self.tree, 0)


def step_of(resolution: timedelta) -> int:
    """The step of an index in microseconds.

    Raises:
        TypeError: `resolution` is no timedelta.
        ValueError: It is too short or too long.
    """
    if not isinstance(resolution, timedelta):
        raise TypeError(f"resolution must be a timedelta, not {type(resolution).__name__}")
    step = resolution // timedelta(microseconds=1)
    if not 1 <= step < _SIGN:
        raise ValueError("resolution must be from one microsecond to 292,000 years")
    return step


def open_index(records: sled.Tree, entries: sled.Tree | None, resolution: timedelta) -> ExpiryIndex:
    """The index of these records, whole or not, with its entries in this tree; None is the sibling.

    Raises:
        TypeError: `entries` is no tree.
        ValueError: It is a tree of another database, or something else lies in a tree that the index needs; nothing
            was written.
    """
    db = records.db
    step_of(resolution)  # which refuses a wrong one
    if not (entries is None or isinstance(entries, sled.Tree)):
        raise TypeError(f"index must be a sled.Tree, not {type(entries).__name__}")
    if entries is not None and not entries.name:
        raise ValueError("index must be a tree with a name: without one the marker could not tell it from the sibling")
    if entries is not None and entries.db != db:
        raise ValueError(
            "index must be a tree of the same database: only one log keeps records and entries in step in a crash"
        )
    place, meta = records.name + ENTRIES if entries is None else entries.name, records.name + META
    own = index_trees(db, records.name)
    if meta not in own and not _is_empty(db, meta):
        raise TreesInUse(
            f"{_text(records.name)!r} can have no expiry index, as {_text(meta)!r} holds something else: "
            "keep the sessions in a tree of another name, or without an index, by SweepStrategy.FULL_SCAN"
        )
    is_own = entries is None and place in own
    if not is_own and (place in _taken(records) or not _may_hold_entries(db, place)):
        raise TreesInUse(
            f"index must be a tree of its own, and {_text(place)!r} holds something else: name another one with index="
        )
    return ExpiryIndex(db.open_tree(place), db.open_tree(meta), resolution)


def kept_index(records: sled.Tree) -> ExpiryIndex | None:
    """The index that these records have, as it is; None without one, or if it is not whole, as far as one can see."""
    db = records.db
    names = index_trees(db, records.name)
    marker = marker_in(db.open_tree(names[0])) if names else None
    if marker is None or marker.version != VERSION or not marker.resolution_us:
        return None
    meta, entries = names
    if entries not in db.tree_names() or not seem_to_agree(records, db.open_tree(entries)):
        return None
    return ExpiryIndex(db.open_tree(entries), db.open_tree(meta), timedelta(microseconds=marker.resolution_us))


def seem_to_agree(records: sled.Tree, entries: sled.Tree) -> bool:
    """Whether neither tree was dropped, or imported, behind the marker's back, as far as one can see."""
    return records.is_empty() == entries.is_empty()


def index_trees(db: sled.Db, records: bytes) -> tuple[bytes, ...]:
    """The names of the trees in which the index of these records lies, that of the marker first; none without one.

    A program may have trees of its own by the names of the siblings: it is the marker that makes them an index's.
    """
    meta = records + META
    if _is_empty(db, meta) or _MARKER not in (notes := db.open_tree(meta)):
        return ()
    marker = marker_in(notes)
    return meta, (marker and marker.tree) or records + ENTRIES


def unmark_index(db: sled.Db, records: bytes) -> None:
    """Note that the index of these records, if there is one, may not have an entry for each."""
    if names := index_trees(db, records):
        meta, entries = map(db.open_tree, names)
        _mark(meta, entries, 0)


def drop_index(db: sled.Db, records: bytes) -> None:
    """Drop the index of these records, and nothing else that lies in or beside its trees.

    What ends this early leaves a part of the entries: unmark it first where anybody may look.
    """
    if not (names := index_trees(db, records)):
        return
    meta, entries = map(db.open_tree, names)
    if entries.name == records + ENTRIES:
        db.drop_tree(entries.name)
    elif _may_hold_entries(db, entries.name):  # the name may have been used again
        entries.clear()  # not dropped: whoever named this tree may still hold it
    meta.remove(_MARKER)
    if meta.is_empty():
        db.drop_tree(meta.name)


def marker_in(meta: sled.Tree) -> Marker | None:
    """The marker in a meta tree; None when there is none that can be read."""
    found = meta.get(_MARKER)
    try:
        return None if found is None else msgspec.msgpack.decode(found, type=Marker)
    except msgspec.DecodeError:
        return None


def _marker(meta: sled.Tree, entries: sled.Tree, step: int) -> Marker:
    is_sibling = entries.name.removesuffix(ENTRIES) == meta.name.removesuffix(META)
    return Marker(VERSION, step, b"" if is_sibling else entries.name)


def _mark(meta: sled.Tree, entries: sled.Tree, step: int) -> None:
    meta.insert(_MARKER, msgspec.msgpack.encode(_marker(meta, entries, step)))


def _taken(records: sled.Tree) -> set[bytes]:
    """The trees that are in use for these records and for other indexes."""
    db, own_meta = records.db, records.name + META
    taken = {records.name, own_meta}
    for meta in db.tree_names():
        if meta.endswith(META) and meta != own_meta:
            taken.update(index_trees(db, meta.removesuffix(META)))
    return taken


def _may_hold_entries(db: sled.Db, name: bytes) -> bool:
    """Whether a tree is empty, or missing, or looks like one of entries, as far as its ends show it."""
    if _is_empty(db, name):
        return True
    tree = db.open_tree(name)
    ends = filter(None, (tree.first(), tree.last()))
    return all(len(key) == ENTRY_LENGTH and not value for key, value in ends)


def _is_empty(db: sled.Db, name: bytes) -> bool:
    return name not in db.tree_names() or db.open_tree(name).is_empty()


def _text(name: bytes) -> str:
    return name.decode(errors="backslashreplace")


def _split(entry: bytes) -> tuple[int, bytes]:
    return _BIG_ENDIAN.unpack_from(entry)[0] - _SIGN, entry[-KEY_LENGTH:]


def _bound(microseconds: int) -> bytes:
    return _pack(min(max(microseconds + _SIGN, 0), _LAST))
