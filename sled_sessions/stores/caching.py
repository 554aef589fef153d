"""A fast store in front of a lasting one."""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self, cast, overload
from weakref import WeakValueDictionary

import attrs

from sled_sessions import events
from sled_sessions.errors import SessionError
from sled_sessions.records import Id, Record
from sled_sessions.stores.adapter import AsyncStore
from sled_sessions.stores.forks import make_locks
from sled_sessions.stores.protocol import (
    AsyncSessionStore,
    Change,
    SessionStore,
    check_blocking,
    check_store,
    is_async,
    key_of,
)
from sled_sessions.stores.sweep import OnExpired, Progress, SweepReport, SweepStrategy

if TYPE_CHECKING:
    import asyncio

_log = logging.getLogger(__name__)

MAX_AGE = timedelta(seconds=1)


class CachingStore:
    """tower-sessions' `CachingSessionStore`: `load` asks the cache first and fills it, writes go to both.

    The store is written first and the cache after it, one writer of an id at a time, so that a cached session is never
    newer than the stored one and a deleted one does not come back through a slow `load`. When the store fails, nobody
    knows what it holds, and the cache forgets the session. So it does with a record that the cache refuses. When the
    cache cannot be read, the store is asked; when it cannot be swept, the log has a warning with its error.

    Calling it makes a `BlockingCachingStore`, or an `AsyncCachingStore` when one of the two stores is asynchronous:

        CachingStore(MemoryStore(), store)  # on a SledStore, in one process
        CachingStore(store, RedisStore.from_url("redis://10.0.0.5"))  # on a server, in one of many processes

    It neither opens nor closes the two.

    Args:
        cache: The fast one, of this process alone.
        store: The lasting one; what it holds is true.
        max_age: Asynchronous only; how long a cached session is shown without asking the store again. What another
            process does to the store, a log-out say, is seen here after that time at the latest.
    """

    cache: Any
    store: Any

    _swept: SweepReport | None = None
    """Of the store, when it was swept to its end and the cache was not."""

    @overload
    def __new__(cls, cache: SessionStore, store: SessionStore) -> "BlockingCachingStore": ...

    @overload
    def __new__(
        cls, cache: SessionStore | AsyncSessionStore, store: AsyncSessionStore, *, max_age: timedelta = MAX_AGE
    ) -> "AsyncCachingStore": ...

    @overload
    def __new__(
        cls, cache: AsyncSessionStore, store: SessionStore, *, max_age: timedelta = MAX_AGE
    ) -> "AsyncCachingStore": ...

    def __new__(cls, cache: Any, store: Any, **options: Any) -> Self:
        """Choose the kind.

        Raises:
            TypeError: `cache` or `store` is no store, or `max_age` no timedelta.
        """
        check_store(cache)
        check_store(store)
        any_async = is_async(cache) or is_async(store)
        kind = (AsyncCachingStore if any_async else BlockingCachingStore) if cls is CachingStore else cls
        return cast("Self", object.__new__(kind))

    def __repr__(self) -> str:
        return f"CachingStore({self.cache!r}, {self.store!r})"


class BlockingCachingStore(CachingStore):
    """A `SessionStore` of two. Other writers of the store, past this object, are not seen until the cache forgets.

    Raises:
        TypeError: `cache` or `store` is asynchronous.
    """

    cache: SessionStore
    store: SessionStore

    _STRIPES = 64

    def __init__(self, cache: SessionStore, store: SessionStore) -> None:
        for each in (cache, store):
            check_blocking(each, "make a CachingStore, which chooses the kind")
        self.cache = cache
        self.store = store
        make_locks(self)

    def create(self, record: Record) -> Record:
        """Store a new session in both; under another id if the store has this one."""
        with self._writing(record.id):  # another id that comes of it is known to nobody yet
            record = self.store.create(record)
            self._keep(record)
        return record

    def save(self, record: Record) -> None:
        """Store a session, new or known, in both."""
        with self._writing(record.id):
            self.store.save(record)
            self._keep(record)

    def load(self, id: Id) -> Record | None:
        """Return a live session from the cache, or else from the store, and then cache it."""
        record = None
        with suppress(SessionError):  # then the store is asked
            record = self.cache.load(id)
        if record is None:
            with self._lock(id):
                record = self.store.load(id)
                if record is not None:
                    with suppress(SessionError):  # a cache that fails is no older for what was read past it
                        self._keep(record)
        return record

    def delete(self, id: Id) -> bool:
        """Remove a session from both; false when the store had none."""
        with self._lock(id):
            try:
                return self.store.delete(id)
            finally:
                self.cache.delete(id)

    def update(self, id: Id, change: Change) -> Record | None:
        """Change a session in the store, atomically, and then in the cache."""
        with self._writing(id):
            record = self.store.update(id, change)
            if record is None:
                self.cache.delete(id)
            else:
                self._keep(record)
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
        """Sweep the store, whose report is returned, and then the cache; complete when both sweeps were.

        Sweeps with a `budget` come to the cache when the store is done, and then to its end before the store's turn
        comes again: scans of two stores would hardly ever end together. A cache that fails does not take the report
        away: what has expired is not shown from there either.
        """
        report = self._swept
        if report is None or budget is None:
            report = self.store.delete_expired(
                strategy, now=now, limit=limit, budget=budget, on_expired=on_expired, progress=progress
            )
            if not (report.complete or budget is None):
                return report
        cache = report
        with _sweep_of_cache():
            cache = self.cache.delete_expired(now=now, limit=limit, budget=budget)
        self._swept = SweepReport(report.strategy) if report.complete and not cache.complete else None
        return attrs.evolve(report, complete=report.complete and cache.complete)

    def _keep(self, record: Record) -> None:
        try:
            self.cache.save(record)
        except SessionError:
            self.cache.delete(record.id)  # the store has it, and an older state would be shown for ever

    @contextmanager
    def _writing(self, id: Id) -> Iterator[None]:
        with self._lock(id):
            try:
                yield
            except BaseException:
                self.cache.delete(id)
                raise

    def _renew_locks(self) -> None:
        self._locks = tuple(threading.Lock() for _ in range(self._STRIPES))

    def _lock(self, id: Id) -> threading.Lock:
        return self._locks[key_of(id)[-1] % self._STRIPES]


class AsyncCachingStore(CachingStore):
    """An `AsyncSessionStore` of two, whose store other processes write, too.

    A cached session is shown for `max_age` from the moment when the store was asked for it, and then asked for again:
    a bound that holds whatever happens to the network, which notices of invalidation could not promise. What lies in
    the cache from an earlier run of the program is not shown before the store has confirmed it. While the store is
    away, sessions are shown for `max_age` and no longer.

    Updates are the store's own, on what is there by then, so keys that an old session shows are not written back; what
    a program computes from them is. Counters and carts need a visitor to stay on one machine (a load balancer's sticky
    sessions), or no cache.

    A cache that keeps what it has on a disk wants a `Sweeper` on this store, even if the other is a server that deletes
    by itself what expires.

    It belongs to one event loop. A blocking store in it is called inline, as by `AsyncStore`.
    """

    cache: SessionStore | AsyncSessionStore
    store: SessionStore | AsyncSessionStore

    def __init__(
        self,
        cache: SessionStore | AsyncSessionStore,
        store: SessionStore | AsyncSessionStore,
        *,
        max_age: timedelta = MAX_AGE,
    ) -> None:
        import asyncio  # only here: it would be half of what importing this package costs

        if not isinstance(max_age, timedelta):
            raise TypeError(f"max_age must be a timedelta, not {type(max_age).__name__}")
        self.cache = cache
        self.store = store
        self.max_age = max_age
        self._cache = _as_async(cache)
        self._store = _as_async(store)
        self._asked: OrderedDict[bytes, float] = OrderedDict()  # when the store was, for the sessions in the cache
        self._new_lock = asyncio.Lock
        self._locks: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()

    async def create(self, record: Record) -> Record:
        """Store a new session in both; under another id if the store has this one."""
        async with self._lock(record.id):  # another id that comes of it is known to nobody yet
            asked = self._invalidate(record.id)
            record = await self._store.create(record)
            await self._keep(record, asked)
        return record

    async def save(self, record: Record) -> None:
        """Store a session, new or known, in both."""
        async with self._lock(record.id):
            asked = self._invalidate(record.id)
            await self._store.save(record)
            await self._keep(record, asked)

    async def load(self, id: Id) -> Record | None:
        """Return a live session from the cache, if the store was asked within `max_age`, or else from the store."""
        record = await self._cached(id)
        if record is None:
            async with self._lock(id):
                record = await self._cached(id)  # another task may have asked meanwhile
                if record is None:
                    asked = self._invalidate(id)
                    record = await self._store.load(id)
                    if record is None:
                        await self._forget(id)
                    else:
                        await self._keep(record, asked)
        return record

    async def delete(self, id: Id) -> bool:
        """Remove a session from both; false when the store had none."""
        async with self._lock(id):
            self._invalidate(id)
            is_there = await self._store.delete(id)
            await self._forget(id)
            return is_there

    async def update(self, id: Id, change: Change) -> Record | None:
        """Change a session in the store, atomically, and then in the cache."""
        async with self._lock(id):
            asked = self._invalidate(id)
            record = await self._store.update(id, change)
            if record is None:
                await self._forget(id)
            else:
                await self._keep(record, asked)
            return record

    async def delete_expired(
        self,
        strategy: SweepStrategy | None = None,
        *,
        now: datetime | None = None,
        limit: int | None = None,
        budget: timedelta | None = None,
        on_expired: OnExpired | None = None,
        progress: Progress | None = None,
    ) -> SweepReport:
        """Sweep the store, whose report is returned, and then the cache; complete when both sweeps were.

        Sweeps with a `budget` come to the cache when the store is done, and then to its end before the store's turn
        comes again: scans of two stores would hardly ever end together. A cache that fails does not take the report
        away: what has expired is not shown from there either.
        """
        report = self._swept
        if report is None or budget is None:
            report = await self._store.delete_expired(
                strategy, now=now, limit=limit, budget=budget, on_expired=on_expired, progress=progress
            )
            if not (report.complete or budget is None):
                return report
        cache = report
        with _sweep_of_cache():
            cache = await self._cache.delete_expired(now=now, limit=limit, budget=budget)
        self._swept = SweepReport(report.strategy) if report.complete and not cache.complete else None
        return attrs.evolve(report, complete=report.complete and cache.complete)

    async def _cached(self, id: Id) -> Record | None:
        asked = self._asked.get(key_of(id))
        if asked is None or time.monotonic() - asked >= self.max_age.total_seconds():
            return None
        with suppress(SessionError):  # then the store is asked
            return await self._cache.load(id)
        return None

    def _invalidate(self, id: Id) -> float:
        """Show nothing from the cache until `_keep`, even if that never comes; returns the time."""
        self._asked.pop(key_of(id), None)
        return time.monotonic()

    async def _forget(self, id: Id) -> None:
        with suppress(SessionError):  # what stays in the cache is not shown any more
            await self._cache.delete(id)

    async def _keep(self, record: Record, asked: float) -> None:
        try:
            await self._cache.save(record)
        except SessionError:
            return  # the store has it, and what is in the cache stays in doubt
        self._asked[record.id.key] = asked
        oldest = time.monotonic() - self.max_age.total_seconds()
        while self._asked and next(iter(self._asked.values())) <= oldest:
            self._asked.popitem(last=False)

    def _lock(self, id: Id) -> "asyncio.Lock":
        return self._locks.setdefault(key_of(id), self._new_lock())


@contextmanager
def _sweep_of_cache() -> Iterator[None]:
    """Log what the cache raises, so that the store's report is not lost, and announce no session as expired."""
    try:
        with events.sweeping_copies():
            yield
    except SessionError:
        _log.warning("the cache could not be swept; the next sweep tries again", exc_info=True)


def _as_async(store: SessionStore | AsyncSessionStore) -> AsyncSessionStore:
    return store if is_async(store) else AsyncStore(cast("SessionStore", store))
