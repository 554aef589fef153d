"""Sessions in this process's memory: for tests, for caches, and the plain model of what a store does."""

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice

import attrs
from sortedcontainers import SortedList

from sled_sessions import events
from sled_sessions.records import Id, Record, codec
from sled_sessions.stores.clock import Clock, checked, utc_now
from sled_sessions.stores.encoded import decode_live
from sled_sessions.stores.forks import make_locks
from sled_sessions.stores.protocol import Change, check_change, key_of, seen_by
from sled_sessions.stores.sweep import OnExpired, Progress, Sweep, SweepReport, SweepStrategy


class MemoryStore:
    """A `SessionStore` in a dict of encoded records, with a sorted list of (expiry, id) as its expiry index.

    Records are encoded on the way in, so that what JSON cannot hold is refused here as everywhere, and what a caller
    does to a record afterwards does not reach the store. Safe to use from several threads.

    Args:
        clock: Returns the present moment as an aware datetime.
    """

    def __init__(self, *, clock: Clock = utc_now) -> None:
        self.clock = checked(clock)
        make_locks(self)
        self._values: dict[bytes, bytes] = {}
        self._expiries: dict[bytes, int] = {}  # what the index has for each
        self._index: SortedList[tuple[int, bytes]] = SortedList()

    def create(self, record: Record) -> Record:
        """Store a new session: under another id if this one is taken. O(log n)."""
        with self._lock:
            while record.id.key in self._values:
                record = attrs.evolve(record, id=Id.new())
            self.save(record)
        return record

    def save(self, record: Record) -> None:
        """Store a session, new or known. O(log n)."""
        key, value, expiry = record.id.key, record.encode(), codec.to_microseconds(record.expiry_date)
        with self._lock:
            if key in self._expiries:
                self._index.remove((self._expiries[key], key))
            self._values[key] = value  # over the old one: `load` takes no lock, and must find one of the two
            self._expiries[key] = expiry
            self._index.add((expiry, key))

    def load(self, id: Id) -> Record | None:
        """Return a live session's record, or None. O(1)."""
        value = self._values.get(key_of(id))
        return None if value is None else decode_live(id, value, self.clock())

    def delete(self, id: Id) -> bool:
        """Remove a session; false when there was none. O(log n)."""
        with self._lock:
            return self._remove(key_of(id))

    def update(self, id: Id, change: Change) -> Record | None:
        """Read, change and write a live session as one step; None when it is gone or expired."""
        key = key_of(id)
        with self._lock:
            record = seen_by(change, self.clock)
            if record is None or self._values.get(key) != record.stored:
                record = self.load(id)
            if record is not None:
                record = check_change(id, change(record))
                self.save(record)
                record.stored = self._values[key]
            return record

    def delete_expired(
        self,
        strategy: SweepStrategy | None = None,
        *,
        now: datetime | None = None,
        limit: int | None = None,
        budget: timedelta | None = None,
        on_expired: OnExpired | None = None,
        progress: Progress | None = None,
    ) -> SweepReport:
        """Remove the expired sessions; the options are those of `SledStore.delete_expired`."""
        until = codec.to_microseconds(codec.require_aware(self.clock() if now is None else now, "now"))
        strategy = SweepStrategy(strategy or SweepStrategy.EXPIRY_INDEX)
        sweep = Sweep(strategy, limit, budget, progress)
        with self._lock:
            due = list(self._index.irange(maximum=(until + 1,), inclusive=(True, False)))
            others = len(self._index) - len(due)
        for _, key in due:
            sweep.examined += 1
            value = self._expire(key, until)
            if value is not None:
                sweep.deleted += 1
                events.expired(key, value, on_expired)
            if sweep.step():
                return sweep.report(complete=False)
        if strategy is SweepStrategy.FULL_SCAN:
            sweep.examined += others  # one look at the first of them is enough
        return sweep.report(complete=True)

    def count(self) -> int:
        """How many records are stored, expired ones that no sweep has met included. O(1)."""
        return len(self._values)

    def records(self) -> Iterator[Record]:
        """Every record stored, in the order of their ids' bytes, expired ones included."""
        for key in sorted(self._values):
            if (value := self._values.get(key)) is not None:
                yield Record.decode(value)

    def first_expiry(self) -> datetime | None:
        """When the next session expires, or did; None when there is none. O(1)."""
        with self._lock:
            return codec.from_microseconds(self._index[0][0]) if self._index else None

    def expiring(self, start: datetime | None = None, stop: datetime | None = None) -> Iterator[tuple[datetime, Id]]:
        """The sessions that expire from `start` on and before `stop`, earliest first. O(log n + those)."""
        low, high = (
            None if bound is None else (codec.to_microseconds(codec.require_aware(bound, name)),)
            for name, bound in (("start", start), ("stop", stop))
        )
        with self._lock:
            found = list(self._index.irange(low, high, inclusive=(True, False)))
        return ((codec.from_microseconds(expiry), Id(key)) for expiry, key in found)

    def __repr__(self) -> str:
        return f"MemoryStore({self.count()} records)"

    def _repr_html_(self) -> str:
        from sled_sessions.display import html, text
        from sled_sessions.stores import shown

        with self._lock:
            first = [Record.decode(self._values[key]) for _, key in islice(self._index, text.PAGE)]
            count = len(self._values)
        return html.card("MemoryStore", {"sessions": count}, shown.first(first, self.clock(), "next to expire"))

    def _renew_locks(self) -> None:
        self._lock = threading.RLock()

    def _expire(self, key: bytes, until: int) -> bytes | None:
        """Remove a session if it has expired by then, and return what it was."""
        with self._lock:
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
