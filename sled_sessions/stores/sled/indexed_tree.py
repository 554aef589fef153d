"""A record tree together with its expiry index, and the one place that keeps the two in step.

The order of writes makes it safe: first the entry, then the record, then the old entry's removal; a deleted record
goes before its entry. sled's recovery restores a prefix of its log, so whatever moment a crash picks, each record that
is there has its entry. Writers of one id take turns, by locks that all stores on the tree share.

A transaction over both trees would do the same at several times the cost: sled's take one lock over all databases.
"""

import logging
import time
from collections.abc import Iterator
from datetime import timedelta
from threading import get_ident
from weakref import WeakValueDictionary

import attrs

from sled_sessions import sled
from sled_sessions.errors import DecodeError
from sled_sessions.records import codec
from sled_sessions.records.record import KEY_LENGTH
from sled_sessions.stores.locks import ALL, KeyLocks, waits, wake
from sled_sessions.stores.sled.index import (
    ExpiryIndex,
    drop_index,
    kept_index,
    mark_incomplete,
    open_index,
    seem_to_agree,
)
from sled_sessions.stores.sled.rotated import RotatedIds
from sled_sessions.stores.sweep import PROGRESS_STEP, Progress

_log = logging.getLogger(__name__)


@attrs.frozen
class IndexReport:
    """What comparing the index with the records found; truthy if every record has its entry.

    Attributes:
        records: Records that could be decoded.
        entries: Entries in the index.
        missing: Records without their entry: an index sweep would never delete them.
        stale: Entries left over: their record is gone or has another expiry. Harmless, since a sweep checks each entry
            against its record and drops these; a crash or a concurrent write leaves some.
        undecodable: Records that could not be decoded, so that their entry is unknown.
        seconds: How long it took.
    """

    records: int = 0
    entries: int = 0
    missing: int = 0
    stale: int = 0
    undecodable: int = 0
    seconds: float = 0.0

    def __bool__(self) -> bool:
        return not self.missing

    def _repr_html_(self) -> str:
        from sled_sessions.display import html, text

        facts: dict[str, object] = {
            "every record has its entry": bool(self),
            "records": self.records,
            "entries": self.entries,
            "missing": self.missing,
            "stale": self.stale,
            "undecodable": self.undecodable,
            "time": text.elapsed(self.seconds),
        }
        return html.card("IndexReport", facts)


class IndexedTree:
    """The records of one tree and, if a store keeps one, their index. `of` gives the one object for each tree."""

    def __init__(self, tree: sled.Tree) -> None:
        self.tree = tree
        self.index: ExpiryIndex | None = None
        """The index while it is complete; None if none is kept, or while it is being built."""
        self.rotated = RotatedIds(tree)
        self._kept: ExpiryIndex | None = None  # complete or not
        self._locks = KeyLocks()
        self._hold, self._held = self._locks.hold, self._locks.held
        self._get, self._insert, self._remove = tree.get, tree.insert, tree.remove
        self._compare_and_swap = tree.compare_and_swap

    @classmethod
    def of(cls, tree: sled.Tree) -> "IndexedTree":
        """The object that all stores on this tree share."""
        place = (tree.db, tree.name)

        def of_place() -> IndexedTree:
            shared = _shared.get(place)
            if shared is None or shared.is_dropped:
                shared = _shared[place] = cls(tree)
            return shared

        return _opening.hold(place, of_place)

    @property
    def is_dropped(self) -> bool:
        """Whether the tree has been dropped; a tree opened again under its name is another tree."""
        try:
            self.tree.contains(b"")
        except sled.CollectionNotFound:
            return True
        return False

    def create(self, key: bytes, value: bytes, expiry: int) -> bool:
        """Write a record with this expiry, unless the key is taken."""
        return self._hold(key, self._create, key, value, expiry)

    def save(self, key: bytes, value: bytes, expiry: int) -> None:
        """Write a record with this expiry, new or known."""
        held, turn = self._held, [get_ident()]
        try:  # `KeyLocks.hold` without the call, here and in `swap`
            if held.setdefault(key, turn) is not turn or ALL in held:
                self._locks.wait(key, turn)
            index = self.index
            old = None if index is None else self._get(key)
            old_expiry = None if old is None else expiry_of(key, old)
            if index is None or (old_expiry is not None and old_expiry // index.step == expiry // index.step):
                self._insert(key, value)
            else:
                self._write(index, key, value, expiry, old_expiry)
        finally:
            if key in held and held[key] is turn:
                del held[key]
            if waits:
                wake(turn)

    def swap(self, key: bytes, old: bytes, old_expiry: int, value: bytes | None, expiry: int) -> bool:
        """Replace a record by one with this expiry, or remove it if `value` is None, if `old` is still stored."""
        held, turn = self._held, [get_ident()]
        try:
            if held.setdefault(key, turn) is not turn or ALL in held:
                self._locks.wait(key, turn)
            index = self.index
            if index is None or (value is not None and old_expiry // index.step == expiry // index.step):
                return self._compare_and_swap(key, old, value)
            if value is None:
                is_removed = self._compare_and_swap(key, old, None)
                if is_removed:
                    index.remove(index.entry(old_expiry, key))
                return is_removed
            entry = index.entry(expiry, key)
            index.insert(entry, b"")
            if self._compare_and_swap(key, old, value):
                index.remove(index.entry(old_expiry, key))
                return True
            if not self._belongs(index, entry, key):  # the writer that came first may need the same entry
                index.remove(entry)
            return False
        finally:
            if key in held and held[key] is turn:
                del held[key]
            if waits:
                wake(turn)

    def remove(self, key: bytes) -> bool:
        """Remove a record and its entry; false if there was none."""
        return self._hold(key, self._remove_with_entry, key)

    def expire(self, key: bytes, until: int, entry: bytes | None = None, *, dry_run: bool = False) -> bytes | None:
        """Remove a record whose expiry is not after `until`, in microseconds, and return it; a dry run only returns it.

        `entry` is the index entry that led here; it is removed, too, if it is not the record's.

        Raises:
            DecodeError: The record cannot be decoded; it stays, and so does the entry.
        """
        return self._hold(key, self._expire, key, until, entry, dry_run)

    def keep_index(self, resolution: timedelta, progress: Progress | None) -> None:
        """Keep an index of this resolution from now on; build it if it is not complete."""

        def keep() -> None:
            index = self._kept = open_index(self.tree, resolution)
            if index.is_complete and seem_to_agree(self.tree, index.tree):
                self.index = index
            else:
                self._build(index, progress)

        self._locks.hold_all(keep)

    def use_index(self) -> None:
        """Keep the index that exists, unless a store keeps one already: nothing is built, and nothing dropped."""

        def use() -> None:
            if self._kept is None:
                self.index = self._kept = kept_index(self.tree)

        self._locks.hold_all(use)

    def drop_index(self) -> None:
        """Keep no index from now on, and drop the one that exists."""

        def drop() -> None:
            mark_incomplete(self.tree.db, self.tree.name)
            self.index = self._kept = None
            drop_index(self.tree.db, self.tree.name)

        self._locks.hold_all(drop)

    def rebuild(self, progress: Progress | None) -> IndexReport | None:
        """Build the index anew; None if none is kept. Writers wait meanwhile."""
        return self._locks.hold_all(lambda: None if self._kept is None else self._build(self._kept, progress))

    def expiries(self, start: int | None = None, stop: int | None = None) -> Iterator[tuple[int, bytes]]:
        """The expiries from `start` on and before `stop`, earliest first, in microseconds, each with its record's key.

        Rounded down to the resolution and O(log n + those) by the index; without one exact and O(n log n).
        """
        if self.index is not None:
            return self.index.between(start, stop)
        return iter(sorted(self._expiries_of_records(start, stop)))

    def first_expiry(self) -> int | None:
        """The first of `expiries`; None without records. O(log n) by the index; without one O(n)."""
        if self.index is None:
            return min((at for at, _ in self._expiries_of_records()), default=None)
        return next((at for at, _ in self.index.between(None, None)), None)

    def verify(self, progress: Progress | None = None) -> IndexReport:
        """Compare index and records. Writers continue; what they change meanwhile is checked again under its lock."""
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

    def _expiries_of_records(self, start: int | None = None, stop: int | None = None) -> Iterator[tuple[int, bytes]]:
        for key, value in self.tree:
            at = expiry_of(key, value)
            if at is not None and (start is None or at >= start) and (stop is None or at < stop):
                yield at, key

    def _create(self, key: bytes, value: bytes, expiry: int) -> bool:
        if key in self.tree:
            return False
        if self.index is None:
            self._insert(key, value)
        else:
            self._write(self.index, key, value, expiry, None)
        return True

    def _remove_with_entry(self, key: bytes) -> bool:
        old = self._remove(key)
        if old is not None and self.index is not None and (entry := _entry(self.index, key, old)) is not None:
            self.index.remove(entry)
        return old is not None

    def _expire(self, key: bytes, until: int, entry: bytes | None, dry_run: bool) -> bytes | None:
        index = None if dry_run else self.index
        value = self._get(key)
        if value is None:
            if entry is not None and index is not None:
                index.remove(entry)
            return None
        expiry = expiry_of(key, value)
        if expiry is None:
            raise DecodeError("the bytes are not a valid session record, or their key is not an id")
        is_due = expiry <= until
        if is_due and not dry_run:
            self._remove(key)
        if index is not None:
            own = index.entry(expiry, key)
            if is_due:
                index.remove(own)
            if entry is not None and entry != own:
                index.remove(entry)
        return value if is_due else None

    def _write(self, index: ExpiryIndex, key: bytes, value: bytes, expiry: int, old_expiry: int | None) -> None:
        """Write the entry, the record, and remove the old entry, which differs. The caller holds the lock."""
        index.insert(index.entry(expiry, key), b"")
        self._insert(key, value)
        if old_expiry is not None:
            index.remove(index.entry(old_expiry, key))

    def _build(self, index: ExpiryIndex, progress: Progress | None) -> IndexReport:
        start = time.perf_counter()
        index.mark_incomplete()
        self.index = None  # if this is interrupted, sweeps read every record
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
        index.mark_complete()
        self.index = index
        if progress is not None:
            progress(records, records)
        seconds = time.perf_counter() - start
        if records or undecodable:
            _log.info("built the expiry index of %d records in %.1f s", records, seconds)
        if undecodable:
            _log.warning("%d records could not be decoded and have no entry in the expiry index", undecodable)
        return IndexReport(records=records, entries=records, undecodable=undecodable, seconds=seconds)

    def _is_missing(self, index: ExpiryIndex, key: bytes) -> bool:
        def is_missing() -> bool:
            if self.index is not index:  # another store has changed the index meanwhile
                return False
            value = self.tree.get(key)
            entry = None if value is None else _entry(index, key, value)
            return entry is not None and entry not in index.tree

        return self._hold(key, is_missing)

    def _is_stale(self, index: ExpiryIndex, entry: bytes) -> bool:
        key = entry[-KEY_LENGTH:]

        def is_stale() -> bool:
            return self.index is index and entry in index.tree and not self._belongs(index, entry, key)

        return not self._belongs(index, entry, key) and self._hold(key, is_stale)

    def _belongs(self, index: ExpiryIndex, entry: bytes, key: bytes) -> bool:
        """Whether this is the entry of a stored record; true for any entry of a record that cannot be decoded."""
        value = self.tree.get(key)
        return value is not None and _entry(index, key, value) in (entry, None)


_shared: WeakValueDictionary[tuple[sled.Db, bytes], IndexedTree] = WeakValueDictionary()
_opening = KeyLocks()


def expiry_of(key: bytes, value: bytes) -> int | None:
    """A record's expiry in microseconds since the Unix epoch; None if it cannot be decoded or its key is not an id."""
    try:
        return codec.decode_expiry(value) if len(key) == KEY_LENGTH else None
    except DecodeError:
        return None


def _entry(index: ExpiryIndex, key: bytes, value: bytes) -> bytes | None:
    """The entry of a record; None if it cannot be decoded."""
    expiry = expiry_of(key, value)
    return None if expiry is None else index.entry(expiry, key)
