"""Sessions in this process's memory: for tests, for caches, and as the plain model of a store."""

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice

import attrs
from sortedcontainers import SortedList

from sled_sessions.records import Id, Record, codec
from sled_sessions.stores.clock import Clock, checked, utc_now
from sled_sessions.stores.locks import StripedLock
from sled_sessions.stores.protocol import DELETE, Change, check_change, key_of
from sled_sessions.stores.sweep import OnExpired, Progress, Sweep, SweepReport, SweepStrategy
from sled_sessions.tracebacks import forget_locals, guarded


class MemoryStore:
    """A `SessionStore` in a dict of encoded records, with a sorted list of (expiry, id) as its expiry index.

    Records are encoded as they are stored, so data that JSON cannot hold is refused, as in any store, and later changes
    to the caller's record do not reach the store. Safe to use from several threads.

    Args:
        clock: Returns the current time as an aware datetime.
    """

    def __init__(self, *, clock: Clock = utc_now) -> None:
        self.clock = checked(clock)
        self._lock = StripedLock(1, threading.RLock)
        self._values: dict[bytes, bytes] = {}
        self._expiries: dict[bytes, int] = {}  # the expiry that the index has for each key
        self._index: SortedList[tuple[int, bytes]] = SortedList()

    @guarded
    def create(self, record: Record) -> Record:
        """Store a new session: under another id if this one is taken. O(log n)."""
        with self._lock.of():
            while record.id.key in self._values:
                record = attrs.evolve(record, id=Id.new())
            self._save(record)
        return record

    @guarded
    def save(self, record: Record) -> None:
        """Store a session, new or known. O(log n)."""
        self._save(record)

    def _save(self, record: Record) -> None:
        key, value, expiry = record.id.key, record.encode(), codec.to_microseconds(record.expiry_date)
        with self._lock.of():
            if key in self._expiries:
                self._index.remove((self._expiries[key], key))
            self._values[key] = value  # one assignment: `load` takes no lock and finds the old value or the new one
            self._expiries[key] = expiry
            self._index.add((expiry, key))

    def load(self, id: Id) -> Record | None:
        """Return a live session's record, or None. O(1)."""
        value = None
        try:  # as `guarded`, here and in `update`, which every request calls
            value = self._values.get(key_of(id))
            return None if value is None else Record.decode_live(id, value, self.clock())
        except BaseException as error:
            del id, value
            forget_locals(error)
            raise

    @guarded
    def delete(self, id: Id) -> bool:
        """Remove a session; false if there was none. O(log n)."""
        with self._lock.of():
            return self._remove(key_of(id))

    def update(self, id: Id, change: Change, *, seen: Record | None = None) -> Record | None:
        """Read, change and write a live session as one step; None if it is missing, expired or deleted by `change`."""
        try:
            return self._update(id, change, seen)
        except BaseException as error:
            del id
            forget_locals(error)
            raise

    def _update(self, id: Id, change: Change, seen: Record | None) -> Record | None:
        key = key_of(id)
        with self._lock.of():
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

    @guarded
    def delete_expired(
        self,
        strategy: SweepStrategy | None = None,
        *,
        now: datetime | None = None,
        limit: int | None = None,
        budget: timedelta | None = None,
        on_expired: OnExpired | None = None,
        progress: Progress | None = None,
        dry_run: bool = False,
    ) -> SweepReport:
        """Remove the expired sessions; the options are those of `SledStore.delete_expired`."""
        strategy = SweepStrategy(strategy or SweepStrategy.EXPIRY_INDEX)
        sweep = Sweep(strategy, self.clock, now, limit, budget, on_expired, progress, dry_run)
        with self._lock.of():
            due = list(self._index.irange(maximum=(sweep.until + 1,), inclusive=(True, False)))
            others = len(self._index) - len(due)
        for _, key in due:
            sweep.examined += 1
            value = self._values.get(key) if dry_run else self._expire(key, sweep.until)
            if value is not None:
                sweep.count_deleted(key, value)
            if sweep.is_over():
                return sweep.report(complete=False)
        if strategy is SweepStrategy.FULL_SCAN:
            sweep.examined += others  # reading the first one of these would be enough
        return sweep.report(complete=True)

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
        with self._lock.of():
            return codec.from_microseconds(self._index[0][0]) if self._index else None

    @guarded
    def expiring(self, start: datetime | None = None, stop: datetime | None = None) -> Iterator[tuple[datetime, Id]]:
        """The sessions that expire from `start` on and before `stop`, earliest first. O(log n + those)."""
        low, high = (
            None if bound is None else (codec.to_microseconds(codec.require_aware(bound, name)),)
            for name, bound in (("start", start), ("stop", stop))
        )
        with self._lock.of():
            found = list(self._index.irange(low, high, inclusive=(True, False)))
        return ((codec.from_microseconds(expiry), Id(key)) for expiry, key in found)

    def __repr__(self) -> str:
        return f"MemoryStore({self.count()} records)"

    def _repr_html_(self) -> str:
        from sled_sessions.display import html, text
        from sled_sessions.stores import shown

        with self._lock.of():
            first = [Record.decode(self._values[key]) for _, key in islice(self._index, text.PAGE)]
            count = len(self._values)
        return html.card("MemoryStore", {"sessions": count}, shown.first_records(first, self.clock(), "next to expire"))

    def _expire(self, key: bytes, until: int) -> bytes | None:
        """Remove a session if it has expired at that time, and return its record."""
        with self._lock.of():
            if self._expiries.get(key, until + 1) > until:
                return None
            value = self._values[key]
            self._remove(key)
            return value

    def _remove(self, key: bytes) -> bool:
        if self._values.pop(key, None) is None:
            return False
        self._index.remove((self._expiries.pop(key), key))
        return True
