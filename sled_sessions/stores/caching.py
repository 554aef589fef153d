"""A fast store in front of a lasting one."""

import threading
from datetime import datetime, timedelta

from sled_sessions.records import Id, Record
from sled_sessions.stores.protocol import Change, SessionStore
from sled_sessions.stores.sweep import OnExpired, Progress, SweepReport, SweepStrategy


class CachingStore:
    """tower-sessions' `CachingSessionStore`: `load` asks the cache first and fills it, writes go to both.

    The store is written first and the cache after it, one writer of an id at a time, so that a cached session is never
    newer than the stored one and a deleted one does not come back through a slow `load`. Other writers of the store,
    past this object, are not seen until the cache forgets.

    Args:
        cache: The fast one, such as `MemoryStore()`.
        store: The lasting one; what it holds is true.
    """

    _STRIPES = 64

    def __init__(self, cache: SessionStore, store: SessionStore) -> None:
        self.cache = cache
        self.store = store
        self._locks = tuple(threading.Lock() for _ in range(self._STRIPES))

    def create(self, record: Record) -> Record:
        """Store a new session in both; under another id if the store has this one."""
        record = self.store.create(record)
        with self._lock(record.id):
            self.cache.save(record)
        return record

    def save(self, record: Record) -> None:
        """Store a session, new or known, in both."""
        with self._lock(record.id):
            self.store.save(record)
            self.cache.save(record)

    def load(self, id: Id) -> Record | None:
        """Return a live session from the cache, or else from the store, and then cache it."""
        record = self.cache.load(id)
        if record is None:
            with self._lock(id):
                record = self.store.load(id)
                if record is not None:
                    self.cache.save(record)
        return record

    def delete(self, id: Id) -> bool:
        """Remove a session from both; false when the store had none."""
        with self._lock(id):
            self.cache.delete(id)
            return self.store.delete(id)

    def update(self, id: Id, change: Change) -> Record | None:
        """Change a session in the store, atomically, and then in the cache."""
        with self._lock(id):
            record = self.store.update(id, change)
            if record is None:
                self.cache.delete(id)
            else:
                self.cache.save(record)
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
        """Sweep the cache, and then the store, whose report is returned; the options are meant for the store."""
        self.cache.delete_expired(now=now)
        return self.store.delete_expired(
            strategy, now=now, limit=limit, budget=budget, on_expired=on_expired, progress=progress
        )

    def __repr__(self) -> str:
        return f"CachingStore({self.cache!r}, {self.store!r})"

    def _lock(self, id: Id) -> threading.Lock:
        return self._locks[id.key[-1] % self._STRIPES]
