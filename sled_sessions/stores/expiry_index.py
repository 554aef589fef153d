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


class Marker(msgspec.Struct, omit_defaults=True):
    """What lies in the meta tree while the index is whole.

    Attributes:
        version: Of the format.
        resolution_us: The step of the index, in microseconds.
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
        if not isinstance(resolution, timedelta):
            msg = f"resolution must be a timedelta, not {type(resolution).__name__}"
            raise TypeError(msg)
        step = resolution // timedelta(microseconds=1)
        if not 1 <= step < _SIGN:
            msg = "resolution must be from one microsecond to 292,000 years"
            raise ValueError(msg)
        self.step = step
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
        return marker_in(self._meta) == self._marker

    def mark_whole(self) -> None:
        """Note that every record has its entry now."""
        self._meta.insert(_MARKER, msgspec.msgpack.encode(self._marker))

    def clear(self) -> None:
        """Empty the index, the marker first: what a crash leaves half-built is then known to be no index."""
        self._meta.remove(_MARKER)
        self.tree.clear()

    @property
    def _marker(self) -> Marker:
        is_sibling = self.tree.name.removesuffix(ENTRIES) == self._meta.name.removesuffix(META)
        return Marker(VERSION, self.step, b"" if is_sibling else self.tree.name)


def check_entries_tree(entries: sled.Tree, records: sled.Tree) -> None:
    """Make sure that the index of these records may lie in this tree, which is emptied when the index is built.

    Raises:
        TypeError: It is no tree.
        ValueError: It is a tree of another database, or something else lies in it.
    """
    if not isinstance(entries, sled.Tree):
        msg = f"index must be a sled.Tree, not {type(entries).__name__}"
        raise TypeError(msg)
    if entries.db != records.db:
        msg = "index must be a tree of the same database: only one log keeps records and entries in step in a crash"
        raise ValueError(msg)
    own_meta = records.name + META
    taken = {records.name, own_meta}
    for meta in records.db.tree_names():
        if meta.endswith(META) and meta != own_meta and (marker := marker_in(records.db.open_tree(meta))) is not None:
            taken.add(marker.tree or meta.removesuffix(META) + ENTRIES)
    ends = filter(None, (entries.first(), entries.last()))
    if entries.name in taken or any(len(key) != ENTRY_LENGTH or value for key, value in ends):
        msg = f"index must be a tree of its own: {entries!r} holds something else"
        raise ValueError(msg)


def marker_in(meta: sled.Tree) -> Marker | None:
    """The marker in a meta tree; None when there is no whole index."""
    found = meta.get(_MARKER)
    try:
        return None if found is None else msgspec.msgpack.decode(found, type=Marker)
    except msgspec.DecodeError:
        return None


def _split(entry: bytes) -> tuple[int, bytes]:
    return _BIG_ENDIAN.unpack_from(entry)[0] - _SIGN, entry[-KEY_LENGTH:]


def _bound(microseconds: int) -> bytes:
    return _pack(min(max(microseconds + _SIGN, 0), _LAST))
