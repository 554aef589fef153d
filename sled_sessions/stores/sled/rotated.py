"""Marks of ids that were changed, as by a login, so that requests still under way with the old id do not undo it.

The marks of the tree `session` lie in the tree `session:rotated`, which the first of them creates. A mark's key is the
old id, 16 bytes, and its value the moment at which the mark ends: microseconds since the Unix epoch, 8 bytes,
big-endian. A mark is derived from the change of an id and means nothing once it has ended: sweeps remove it.
"""

import logging
import struct
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sled_sessions import sled
from sled_sessions.records import Id, codec
from sled_sessions.records.record import KEY_LENGTH
from sled_sessions.stores.clock import Clock
from sled_sessions.stores.protocol import key_of
from sled_sessions.stores.sled.opening import backend_errors
from sled_sessions.tracebacks import guarded

if TYPE_CHECKING:
    from sled_sessions.stores.sled.indexed_tree import IndexedTree

_log = logging.getLogger(__name__)

ROTATED = b":rotated"
"""The suffix that the name of the tree of marks adds to the name of the record tree."""

_MOMENT = struct.Struct(">q")
_FIRST, _LAST = (codec.to_microseconds(datetime(year, 1, 1, tzinfo=UTC)) for year in (2000, 3000))


class RotatedIds:
    """The marks of a record tree. A tree of their name that holds anything else is left alone, and nothing is marked.

    Moments are in microseconds since the Unix epoch.
    """

    def __init__(self, records: sled.Tree) -> None:
        self._db = records.db
        self._name = records.name + ROTATED
        self._tree: sled.Tree | None = None  # once it has been found or created
        self._has_warned = False

    def mark(self, key: bytes, until: int) -> None:
        """Mark an id until this moment."""
        if (tree := self._find(create=True)) is not None:
            tree.insert(key, _MOMENT.pack(until))

    def is_marked(self, key: bytes, now: int) -> bool:
        """Whether an id has a mark that has not ended."""
        tree = self._find()
        value = None if tree is None else tree.get(key)
        return value is not None and is_mark(key, value) and _MOMENT.unpack(value)[0] > now

    def sweep(self, now: int) -> None:
        """Remove the marks that have ended. O(n) in the ids changed since the last sweep."""
        if (tree := self._find()) is None:
            return
        for key, value in tree:
            if is_mark(key, value) and _MOMENT.unpack(value)[0] <= now:
                tree.compare_and_swap(key, value, None)  # a newer mark stays

    def _find(self, *, create: bool = False) -> sled.Tree | None:
        """The tree, if it exists or `create` is true, and holds nothing but marks."""
        if self._tree is None and (create or self._name in self._db.tree_names()):
            tree = self._db.open_tree(self._name)
            if holds_marks(tree):
                self._tree = tree
            elif create and not self._has_warned:
                self._has_warned = True
                name = self._name.decode(errors="backslashreplace")
                _log.warning("changed ids are not marked, because the tree %r holds something else", name)
        return self._tree


class MarksIds:
    """The part of `SledStore` that marks changed ids."""

    clock: Clock
    _sessions: "IndexedTree"

    @guarded
    def mark_rotated(self, id: Id, until: datetime) -> None:
        """Mark an id as changed until this moment; see `RotationMarks`. O(log n); waits for no flush."""
        with backend_errors():
            self._sessions.rotated.mark(key_of(id), codec.to_microseconds(codec.require_aware(until, "until")))

    @guarded
    def was_rotated(self, id: Id) -> bool:
        """Whether an id has a mark that has not ended. O(log n)."""
        with backend_errors():
            return self._sessions.rotated.is_marked(key_of(id), codec.to_microseconds(self.clock()))


def is_mark(key: bytes, value: bytes) -> bool:
    """Whether a pair is a mark, judged by its lengths and by whether its moment is in this millennium."""
    return len(key) == KEY_LENGTH and len(value) == _MOMENT.size and _FIRST <= _MOMENT.unpack(value)[0] < _LAST


def holds_marks(tree: sled.Tree) -> bool:
    """Whether a tree holds marks and nothing else; true for an empty one. O(1) for most other trees, else O(n)."""
    return all(is_mark(key, value) for key, value in tree)


def is_tree_of_marks(db: sled.Db, name: bytes) -> bool:
    """Whether this tree holds the marks of another one; a program may have a tree of its own with such a name."""
    records, names = name.removesuffix(ROTATED), db.tree_names()
    return records != name and records in names and name in names and holds_marks(db.open_tree(name))
