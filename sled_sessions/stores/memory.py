"""Sessions in this process's memory: for tests, for caches, and as the plain model of a store."""

from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import islice
from typing import Final, TypeVar, Unpack

import attrs
from sortedcontainers import SortedList

from sled_sessions.records import Id, Record, codec
from sled_sessions.records.record import MAX_RECORD_BYTES
from sled_sessions.stores.clock import Clock, checked, utc_now
from sled_sessions.stores.locks import KeyLocks
from sled_sessions.stores.protocol import DELETE, Change, check_change, key_of
from sled_sessions.stores.sweep import Sweep, SweepOptions, SweepReport, SweepStrategy
from sled_sessions.tracebacks import guarded

_T = TypeVar("_T")

_INDEX: Final = "index"
"""The key held while the index is read or changed."""

_BACKLOG = 100
"""Writes after which the index is brought up to date."""


class MemoryStore:
    """A `SessionStore` in a dict of encoded records, with a sorted list of (expiry, id) as its expiry index.

    Records are encoded as they are stored, so data that JSON cannot hold is refused, as in any store, and later changes
    to the caller's record do not reach the store. Safe to use from several threads.

    Args:
        clock: Returns the current time as an aware datetime.
        max_record_bytes: Larger records are refused, measured as they are encoded. The default is `SledStore`'s, so
            that what a test can store can be stored for good.
    """

    def __init__(self, *, clock: Clock = utc_now, max_record_bytes: int = MAX_RECORD_BYTES) -> None:
        self.clock = checked(clock)
        self.max_record_bytes = max_record_bytes
        self._locks = KeyLocks()
        self._values: dict[bytes, bytes] = {}
        # The index follows the values later, in `_on_index`: a write that interrupts another one cannot change it then.
        self._index: SortedList[tuple[int, bytes]] = SortedList()
        self._expiries: dict[bytes, int] = {}  # the expiry that the index has for each key
        self._changed: dict[bytes, int | None] = {}  # and the one that it is to have; None: none
        self._rotated: dict[bytes, int] = {}  # ids that were changed, each with the moment its mark ends

    @guarded
    def create(self, record: Record) -> Record:
        """Store a new session: under another id if this one is taken. O(log n)."""
        while not self._locks.hold(record.id.key, self._create, record):
            record = attrs.evolve(record, id=Id.new())
        self._bound_backlog()
        return record

    @guarded
    def save(self, record: Record) -> None:
        """Store a session, new or known. O(log n)."""
        self._locks.hold(record.id.key, self._save, record)
        self._bound_backlog()

    @guarded
    def load(self, id: Id) -> Record | None:
        """Return a live session's record, or None. O(1)."""
        value = self._values.get(key_of(id))
        return None if value is None else Record.decode_live(id, value, self.clock())

    @guarded
    def delete(self, id: Id) -> bool:
        """Remove a session; false if there was none. O(log n)."""
        key = key_of(id)
        is_removed = self._locks.hold(key, self._remove, key)
        self._bound_backlog()
        return is_removed

    @guarded
    def update(self, id: Id, change: Change, *, seen: Record | None = None) -> Record | None:
        """Read, change and write a live session as one step; None if it is missing, expired or deleted by `change`."""
        record = self._locks.hold(key_of(id), self._update, id, change, seen)
        self._bound_backlog()
        return record

    @guarded
    def delete_expired(self, strategy: SweepStrategy | None = None, **options: Unpack[SweepOptions]) -> SweepReport:
        """Remove the expired sessions; see `SledStore.delete_expired`."""
        strategy = SweepStrategy(strategy or SweepStrategy.EXPIRY_INDEX)
        sweep = Sweep(strategy, self.clock, **options)
        due, others = self._on_index(lambda: self._due(sweep.until))
        for _, key in due:
            sweep.examined += 1
            value = self._values.get(key) if sweep.dry_run else self._locks.hold(key, self._expire, key, sweep.until)
            if value is not None:
                sweep.count_deleted(key, value)
            if sweep.is_over():
                return sweep.report(complete=False)
        if strategy is SweepStrategy.FULL_SCAN:
            sweep.examined += others  # reading the first one of these would be enough
        if not sweep.dry_run:
            for key, until in list(self._rotated.items()):
                if until <= sweep.until:
                    self._rotated.pop(key, None)
        return sweep.report(complete=True)

    @guarded
    def mark_rotated(self, id: Id, until: datetime) -> None:
        """Mark an id as changed until this moment. O(1)."""
        self._rotated[key_of(id)] = codec.to_microseconds(codec.require_aware(until, "until"))

    @guarded
    def was_rotated(self, id: Id) -> bool:
        """Whether an id has a mark that has not ended. O(1)."""
        until = self._rotated.get(key_of(id))
        return until is not None and until > codec.to_microseconds(self.clock())

    def count(self) -> int:
        """The number of records, including expired ones that no sweep has deleted yet. O(1)."""
        return len(self._values)

    @guarded
    def records(self) -> Iterator[Record]:
        """Every record stored, in the order of their ids' bytes, expired ones included."""
        for key in sorted(self._values):
            if (value := self._values.get(key)) is not None:
                yield Record.decode(value)

    def first_expiry(self) -> datetime | None:
        """The earliest expiry, which may be past; None without sessions. O(1)."""
        return self._on_index(lambda: codec.from_microseconds(self._index[0][0]) if self._index else None)

    @guarded
    def expiring(self, start: datetime | None = None, stop: datetime | None = None) -> Iterator[tuple[datetime, Id]]:
        """The sessions that expire from `start` on and before `stop`, earliest first. O(log n + those)."""
        low, high = (
            None if bound is None else (codec.to_microseconds(codec.require_aware(bound, name)),)
            for name, bound in (("start", start), ("stop", stop))
        )
        found = self._on_index(lambda: list(self._index.irange(low, high, inclusive=(True, False))))
        return ((codec.from_microseconds(expiry), Id(key)) for expiry, key in found)

    def __repr__(self) -> str:
        return f"MemoryStore({self.count()} records)"

    def _repr_html_(self) -> str:
        from sled_sessions.display import html, text
        from sled_sessions.stores import shown

        keys = self._on_index(lambda: [key for _, key in islice(self._index, text.PAGE)])
        first = [Record.decode(value) for key in keys if (value := self._values.get(key)) is not None]
        return html.card(
            "MemoryStore", {"sessions": self.count()}, shown.first_records(first, self.clock(), "next to expire")
        )

    def _create(self, record: Record) -> bool:
        if record.id.key in self._values:
            return False
        self._save(record)
        return True

    def _save(self, record: Record) -> None:
        key, expiry = record.id.key, codec.to_microseconds(record.expiry_date)
        value = record.encode(self.max_record_bytes)
        self._values[key] = value  # one assignment: `load` takes no lock and finds the old value or the new one
        self._changed[key] = expiry

    def _update(self, id: Id, change: Change, seen: Record | None) -> Record | None:
        key = id.key
        is_current = seen is not None and seen.is_live_state(self.clock()) and self._values.get(key) == seen.version
        record = seen if is_current else self.load(id)
        if record is None:
            return None
        changed = check_change(id, change(record))
        if changed is DELETE:
            self._remove(key)
            return None
        self._save(changed)
        return Record(id, changed.data, changed.expiry_date, version=self._values[key])

    def _remove(self, key: bytes) -> bool:
        is_removed = self._values.pop(key, None) is not None
        if is_removed:
            self._changed[key] = None
        return is_removed

    def _expire(self, key: bytes, until: int) -> bytes | None:
        """Remove a session if it has expired at that time, and return its record."""
        value = self._values.get(key)
        if value is None or codec.decode_expiry(value) > until:
            return None
        self._remove(key)
        return value

    def _due(self, until: int) -> tuple[list[tuple[int, bytes]], int]:
        """The entries that have expired at that time, and the number of others."""
        due = list(self._index.irange(maximum=(until + 1,), inclusive=(True, False)))
        return due, len(self._index) - len(due)

    def _bound_backlog(self) -> None:
        if len(self._changed) > _BACKLOG and _INDEX not in self._locks.held:  # who holds it does this work
            self._on_index(lambda: None)

    def _on_index(self, read: Callable[[], _T]) -> _T:
        """Bring the index up to date, and return what `read` finds there."""

        def read_current() -> _T:
            while self._changed:
                key, expiry = self._changed.popitem()
                before = self._expiries.pop(key, None)
                if before is not None:
                    self._index.remove((before, key))
                if expiry is not None:
                    self._index.add((expiry, key))
                    self._expiries[key] = expiry
            return read()

        return self._locks.hold(_INDEX, read_current)
