"""A tree of records together with its expiry index, and the one place that keeps the two in step.

The order of writes is what makes it safe: first the entry, then the record, then the old entry's removal; a deleted
record goes before its entry. sled's recovery restores a prefix of its log, so whatever moment a crash picks, each
record that is there has its entry. Writers of one id take turns, by locks that all stores on the tree share.

A transaction over both trees would do the same at several times the cost: sled's take one lock over all databases.
"""

import logging
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar
from weakref import WeakValueDictionary

import attrs

from sled_sessions import sled
from sled_sessions.errors import DecodeError
from sled_sessions.records import codec
from sled_sessions.records.id import KEY_LENGTH
from sled_sessions.stores.forks import ModuleLock, make_locks
from sled_sessions.stores.sled.index import (
    ExpiryIndex,
    drop_index,
    kept_index,
    open_index,
    seem_to_agree,
    unmark_index,
)
from sled_sessions.stores.sweep import PROGRESS_STEP, Progress

_log = logging.getLogger(__name__)

_STRIPES = 64

_T = TypeVar("_T")


@attrs.frozen
class IndexReport:
    """Whether the index agrees with the records; the report is true when it does.

    Attributes:
        records: Records that could be read.
        entries: Entries in the index.
        missing: Records without their entry: an index sweep would never delete them.
        stale: Entries without their record; a sweep drops the ones it meets.
        undecodable: Records that could not be read, so that nobody knows what their entry would be.
        seconds: How long it took.
    """

    records: int = 0
    entries: int = 0
    missing: int = 0
    stale: int = 0
    undecodable: int = 0
    seconds: float = 0.0

    def __bool__(self) -> bool:
        return not (self.missing or self.stale)

    def _repr_html_(self) -> str:
        from sled_sessions.display import html, text

        facts: dict[str, object] = {
            "one entry for each record": bool(self),
            "records": self.records,
            "entries": self.entries,
            "missing": self.missing,
            "stale": self.stale,
            "undecodable": self.undecodable,
            "time": text.elapsed(self.seconds),
        }
        return html.card("IndexReport", facts)


class IndexedTree:
    """The records of one tree and, while somebody keeps it, their index. Get it with `of`: there is one for each tree.

    Args:
        tree: The tree of the records.

    Attributes:
        index: The index, as long as it is whole; None when none is kept, or its building has not come to the end.
    """

    def __init__(self, tree: sled.Tree) -> None:
        self.tree = tree
        self.index: ExpiryIndex | None = None
        self._kept: ExpiryIndex | None = None
        make_locks(self)
        self._get, self._insert, self._remove = tree.get, tree.insert, tree.remove
        self._compare_and_swap = tree.compare_and_swap

    @classmethod
    def of(cls, tree: sled.Tree) -> "IndexedTree":
        """The one that all stores on this tree share."""
        place = (tree.db, tree.name)
        with _shared_lock.lock:
            shared = _shared.get(place)
            if shared is None or shared.is_dropped:
                shared = _shared[place] = cls(tree)
            return shared

    @property
    def is_dropped(self) -> bool:
        """Whether the tree has been dropped since; one that was opened again under its name is another tree."""
        try:
            self.tree.contains(b"")
        except sled.CollectionNotFound:
            return True
        return False

    # -- records ------------------------------------------------------------------------------------------------------

    def create(self, key: bytes, value: bytes, expiry: int) -> bool:
        """Write a record, which expires then, if there is none under this key."""
        with self._lock(key):
            if key in self.tree:
                return False
            if self.index is None:
                self._insert(key, value)
            else:
                self._move(self.index, key, value, expiry, None)
            return True

    def save(self, key: bytes, value: bytes, expiry: int) -> None:
        """Write a record, new or known, which expires then."""
        with self._locks[key[-1] % _STRIPES]:
            index = self.index
            old = None if index is None else self._get(key)
            old_expiry = None if old is None else expiry_of(key, old)
            if index is None or (old_expiry is not None and old_expiry // index.step == expiry // index.step):
                self._insert(key, value)
            else:
                self._move(index, key, value, expiry, old_expiry)

    def swap(self, key: bytes, old: bytes, old_expiry: int, value: bytes, expiry: int) -> bool:
        """Write a record, which expires then, if the old one is still what lies there."""
        with self._locks[key[-1] % _STRIPES]:
            index = self.index
            if index is None or old_expiry // index.step == expiry // index.step:
                return self._compare_and_swap(key, old, value)
            entry = index.entry(expiry, key)
            index.insert(entry, b"")
            if self._compare_and_swap(key, old, value):
                index.remove(index.entry(old_expiry, key))
                return True
            if not self._belongs(index, entry, key):  # whoever came first may have needed the same
                index.remove(entry)
            return False

    def remove(self, key: bytes) -> bool:
        """Remove a record and its entry; false when there was none."""
        with self._lock(key):
            old = self._remove(key)
            if old is not None and self.index is not None and (entry := _entry(self.index, key, old)) is not None:
                self.index.remove(entry)
            return old is not None

    def expire(self, key: bytes, until: int, entry: bytes | None = None) -> bytes | None:
        """Remove a record if it has expired by then, and return what it was.

        `entry` is the index's hint that led here; it goes, too, when it is not that of the record.

        Raises:
            DecodeError: The record cannot be read; it stays, and so does the hint.
        """
        with self._lock(key):
            index = self.index
            value = self._get(key)
            if value is None:
                if entry is not None and index is not None:
                    index.remove(entry)
                return None
            expiry = expiry_of(key, value)
            if expiry is None:
                raise DecodeError("the bytes are no session record, or their key is no id")
            is_due = expiry <= until
            if is_due:
                self._remove(key)
            if index is not None:
                own = index.entry(expiry, key)
                if is_due:
                    index.remove(own)
                if entry is not None and entry != own:
                    index.remove(entry)
            return value if is_due else None

    # -- the index ----------------------------------------------------------------------------------------------------

    def keep_index(self, entries: sled.Tree | None, resolution: timedelta, progress: Progress | None) -> None:
        """Keep the index that `open_index` makes of these from now on, and build it if it is not whole."""

        def keep() -> None:
            index = self._kept = open_index(self.tree, entries, resolution)
            if index.is_whole and seem_to_agree(self.tree, index.tree):
                self.index = index
            else:
                self._build(index, progress)

        self._alone(keep)

    def use_index(self) -> None:
        """Keep the index that there is, as it is, if nobody keeps one yet: nothing is built, and nothing dropped."""

        def use() -> None:
            if self._kept is None:
                self.index = self._kept = kept_index(self.tree)

        self._alone(use)

    def drop_index(self) -> None:
        """Keep no index from now on, and drop the one that is there."""

        def drop() -> None:
            unmark_index(self.tree.db, self.tree.name)
            self.index = self._kept = None
            drop_index(self.tree.db, self.tree.name)

        self._alone(drop)

    def rebuild(self, progress: Progress | None) -> IndexReport | None:
        """Build the index anew; None when none is kept. Writers wait meanwhile."""
        return self._alone(lambda: None if self._kept is None else self._build(self._kept, progress))

    def verify(self, progress: Progress | None = None) -> IndexReport:
        """Compare index and records. Writers go on; what they change meanwhile is looked at again under its lock."""
        start = time.perf_counter()
        index = self.index
        records = entries = missing = stale = undecodable = 0
        for key, value in self.tree:
            expiry = expiry_of(key, value)
            if expiry is None:
                undecodable += 1
                continue
            records += 1
            if progress is not None and records % PROGRESS_STEP == 0:
                progress(records, None)
            if index is not None and index.entry(expiry, key) not in index.tree:
                missing += self._is_missing(index, key)
        if index is not None:
            for entry in index.tree.keys():  # noqa: SIM118 - iterating a tree gives its pairs
                entries += 1
                if progress is not None and entries % PROGRESS_STEP == 0:
                    progress(records + entries, None)
                stale += self._is_stale(index, entry)
        return IndexReport(
            records=records,
            entries=entries,
            missing=missing,
            stale=stale,
            undecodable=undecodable,
            seconds=time.perf_counter() - start,
        )

    # -- how ----------------------------------------------------------------------------------------------------------

    def _renew_locks(self) -> None:
        self._locks = tuple(threading.Lock() for _ in range(_STRIPES))

    def _lock(self, key: bytes) -> threading.Lock:
        """The lock of a key. What every request does has it without this call; the keys there are those of ids."""
        return self._locks[key[-1] % _STRIPES if key else 0]  # the last byte of an id is as random as any

    def _alone(self, work: Callable[[], _T], locked: int = 0) -> _T:
        """Do this while nobody writes to the tree.

        One `with` inside the other, as of these Ctrl-C leaves no lock held, whenever it comes.
        """
        if locked == _STRIPES:
            return work()
        with self._locks[locked]:
            return self._alone(work, locked + 1)

    def _move(self, index: ExpiryIndex, key: bytes, value: bytes, expiry: int, old_expiry: int | None) -> None:
        """Write entry, record, old entry's removal; the caller holds the lock, and the two steps differ."""
        index.insert(index.entry(expiry, key), b"")
        self._insert(key, value)
        if old_expiry is not None:
            index.remove(index.entry(old_expiry, key))

    def _build(self, index: ExpiryIndex, progress: Progress | None) -> IndexReport:
        start = time.perf_counter()
        index.unmark()
        self.index = None  # until it is whole: whatever ends this before leaves a tree that every sweep scans
        index.tree.clear()
        records = undecodable = 0
        for key, value in self.tree:
            entry = _entry(index, key, value)
            if entry is None:
                undecodable += 1
                continue
            index.insert(entry, b"")
            records += 1
            if progress is not None and records % PROGRESS_STEP == 0:
                progress(records, None)
        index.mark_whole()
        self.index = index
        if progress is not None:
            progress(records, records)
        seconds = time.perf_counter() - start
        if records or undecodable:
            _log.info("built the expiry index of %d records in %.1f s", records, seconds)
        if undecodable:
            _log.warning("%d records could not be read and have no entry in the expiry index", undecodable)
        return IndexReport(records=records, entries=records, undecodable=undecodable, seconds=seconds)

    def _is_missing(self, index: ExpiryIndex, key: bytes) -> bool:
        with self._lock(key):
            if self.index is not index:  # another store keeps another one meanwhile
                return False
            value = self.tree.get(key)
            entry = None if value is None else _entry(index, key, value)
            return entry is not None and entry not in index.tree

    def _is_stale(self, index: ExpiryIndex, entry: bytes) -> bool:
        key = entry[-KEY_LENGTH:]
        if self._belongs(index, entry, key):
            return False
        with self._lock(key):
            return self.index is index and entry in index.tree and not self._belongs(index, entry, key)

    def _belongs(self, index: ExpiryIndex, entry: bytes, key: bytes) -> bool:
        """Whether the record is there and this is its entry; an unreadable record is given the benefit of the doubt."""
        value = self.tree.get(key)
        return value is not None and _entry(index, key, value) in (entry, None)


_shared: WeakValueDictionary[tuple[sled.Db, bytes], IndexedTree] = WeakValueDictionary()
_shared_lock = ModuleLock()


def expiry_of(key: bytes, value: bytes) -> int | None:
    """When a record expires, in microseconds since the Unix epoch; None for one that is not readable, or has no id."""
    try:
        return codec.decode_expiry(value) if len(key) == KEY_LENGTH else None
    except DecodeError:
        return None


def _entry(index: ExpiryIndex, key: bytes, value: bytes) -> bytes | None:
    """The entry of a record, None for one that cannot be read."""
    expiry = expiry_of(key, value)
    return None if expiry is None else index.entry(expiry, key)
