"""A fast store in front of a durable one.

The durable store is written first and the cache after it, with one writer of an id at a time. So a cached session is
never newer than the stored one, and a slow `load` does not bring a deleted one back.
"""

import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Unpack
from weakref import WeakValueDictionary

import attrs

from sled_sessions import events
from sled_sessions.errors import SessionError
from sled_sessions.records import Id, Record
from sled_sessions.stores.adapter import AsyncStore, BlockingStore, as_async, run_inline
from sled_sessions.stores.locks import KeyLocks
from sled_sessions.stores.protocol import (
    AsyncSessionStore,
    Change,
    SessionStore,
    check_blocking,
    check_store,
    key_of,
    mark_rotated,
    was_rotated,
)
from sled_sessions.stores.sweep import SweepOptions, SweepReport, SweepStrategy
from sled_sessions.tracebacks import guarded

if TYPE_CHECKING:
    import asyncio

_log = logging.getLogger(__name__)

MAX_AGE = timedelta(seconds=1)


class CachingStore(BlockingStore):
    """tower-sessions' `CachingSessionStore`, for one process: `load` asks the cache first and fills it.

        CachingStore(MemoryStore(), SledStore.at("storage"))

    When the store fails, its state is unknown, and the cache drops the session; so it does with a record that the cache
    refuses. When the cache cannot be read, the store is asked. When the cache cannot be swept, the error is logged.
    Writes to the store that bypass this object are not seen until the cache drops the session. Neither store is opened
    or closed by this object.

    Args:
        cache: The fast store.
        store: The durable store, which decides what is true.

    Raises:
        TypeError: `cache` or `store` is not a blocking store; `AsyncCachingStore` takes asyncio ones.
    """

    def __init__(self, cache: SessionStore, store: SessionStore) -> None:
        for each in (cache, store):
            check_blocking(each, "use an AsyncCachingStore")
        self.cache = cache
        self.store = store
        self._pair = _Pair(AsyncStore(cache), AsyncStore(store), None)
        super().__init__(self._pair, KeyLocks())

    def __repr__(self) -> str:
        return f"CachingStore({self.cache!r}, {self.store!r})"

    @guarded
    def load(self, id: Id) -> Record | None:
        """Return a live session from the cache, or from the store, and then cache it."""
        record = run_inline(self._pair.cached(id), self)  # without the lock
        return super().load(id) if record is None else record


class AsyncCachingStore:
    """A cache in front of an asyncio store that other processes write, too.

        AsyncCachingStore(SledStore.at("cache"), RedisStore.from_url("redis://10.0.0.5"))

    A cached session is used for `max_age` after the store was asked for it, and then the store is asked again. This
    bound holds whatever happens to the network, which invalidation messages could not promise. While the store is away,
    sessions are served for `max_age` and no longer. What an earlier run of the program left in the cache is not used
    before the store has confirmed it.

    Updates run in the store, on its current record, so keys that only a stale copy has are not written back; values
    that a program computes from a stale copy are. Counters and carts need a visitor to stay on one machine (sticky
    sessions of a load balancer), or no cache.

    A cache on disk needs a `Sweeper` on this store, even if the other store is a server that expires records by itself.

    It works on one event loop at a time. A blocking store is called inline, as by `AsyncStore`. Neither store is opened
    or closed by this object.

    Args:
        cache: The fast store, of this process alone.
        store: The durable store, which decides what is true.
        max_age: How long a cached session is used without asking the store. A change by another process, such as a
            log-out, is seen here after that time at the latest.

    Raises:
        TypeError: `cache` or `store` is not a store, or `max_age` is not a timedelta.
    """

    def __init__(
        self,
        cache: SessionStore | AsyncSessionStore,
        store: SessionStore | AsyncSessionStore,
        *,
        max_age: timedelta = MAX_AGE,
    ) -> None:
        import asyncio  # here, since it is half of what importing this package costs

        check_store(cache)
        check_store(store)
        if not isinstance(max_age, timedelta):
            raise TypeError(f"max_age must be a timedelta, not {type(max_age).__name__}")
        self.cache = cache
        self.store = store
        self.max_age = max_age
        self._pair = _Pair(as_async(cache), as_async(store), max_age.total_seconds())
        self._new_lock = asyncio.Lock
        self._locks: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()

    def __repr__(self) -> str:
        return f"AsyncCachingStore({self.cache!r}, {self.store!r})"

    @guarded
    async def create(self, record: Record) -> Record:
        """Store a new session in both; under another id if the store has this one."""
        async with self._lock(record.id):  # an id that replaces it is not known to any other writer yet
            return await self._pair.create(record)

    @guarded
    async def save(self, record: Record) -> None:
        """Store a session, new or known, in both."""
        async with self._lock(record.id):
            await self._pair.save(record)

    @guarded
    async def load(self, id: Id) -> Record | None:
        """Return a live session from the cache if the store was asked within `max_age`, or else from the store."""
        record = await self._pair.cached(id)
        if record is None:
            async with self._lock(id):
                record = await self._pair.cached(id)  # another task may have fetched it meanwhile
                if record is None:
                    record = await self._pair.load(id)
        return record

    @guarded
    async def delete(self, id: Id) -> bool:
        """Remove a session from both; false if the store had none."""
        async with self._lock(id):
            return await self._pair.delete(id)

    @guarded
    async def update(self, id: Id, change: Change, *, seen: Record | None = None) -> Record | None:
        """Change a session in the store, atomically, and then in the cache."""
        async with self._lock(id):
            return await self._pair.update(id, change, seen=seen)

    @guarded
    async def delete_expired(
        self, strategy: SweepStrategy | None = None, **options: Unpack[SweepOptions]
    ) -> SweepReport:
        """Sweep the store and then the cache; returns the store's report, complete when both sweeps were."""
        return await self._pair.delete_expired(strategy, **options)

    @guarded
    async def mark_rotated(self, id: Id, until: datetime) -> None:
        """See `RotationMarks.mark_rotated`; the mark is in the store alone."""
        await self._pair.mark_rotated(id, until)

    @guarded
    async def was_rotated(self, id: Id) -> bool:
        """See `RotationMarks.was_rotated`; always asks the store."""
        return await self._pair.was_rotated(id)

    def _lock(self, id: Id) -> "asyncio.Lock":
        return self._locks.setdefault(key_of(id), self._new_lock())


class _Pair:
    """A cache and a store, as an `AsyncSessionStore` whose caller holds the lock of the id.

    A cached session may be used for `max_age` seconds; None: until it is dropped.
    """

    def __init__(self, cache: AsyncSessionStore, store: AsyncSessionStore, max_age: float | None) -> None:
        self._cache = cache
        self._store = store
        self._max_age = max_age
        self._fetched: OrderedDict[bytes, float] = OrderedDict()  # when the store was asked, for each cached session
        self._swept: SweepReport | None = None  # the store's report, once it is done and the cache's sweep is not

    async def cached(self, id: Id) -> Record | None:
        """The session from the cache; None if it is not there, too old, or the cache cannot be read."""
        key = key_of(id)
        if self._max_age is not None and time.monotonic() - self._fetched.get(key, -1e9) >= self._max_age:
            return None
        with suppress(SessionError):
            return await self._cache.load(id)
        return None

    async def load(self, id: Id) -> Record | None:
        """The session from the store; it is cached if the cache can be written."""
        start = self._invalidate(id)
        record = await self._store.load(id)
        if record is None:
            if self._max_age is not None:
                await self._drop(id)
        else:
            with suppress(SessionError):  # a cache that cannot be written has an older copy, or none, as before
                await self._keep(record, start)
        return record

    async def create(self, record: Record) -> Record:
        async with self._writing(record.id) as start:
            record = await self._store.create(record)
            await self._keep(record, start)
        return record

    async def save(self, record: Record) -> None:
        async with self._writing(record.id) as start:
            await self._store.save(record)
            await self._keep(record, start)

    async def update(self, id: Id, change: Change, *, seen: Record | None = None) -> Record | None:
        async with self._writing(id) as start:
            record = await self._store.update(id, change, seen=seen)
            if record is None:
                await self._drop(id)
            else:
                await self._keep(record, start)
        return record

    async def delete(self, id: Id) -> bool:
        self._invalidate(id)
        try:
            return await self._store.delete(id)
        finally:
            await self._drop(id)

    async def delete_expired(
        self, strategy: SweepStrategy | None = None, **options: Unpack[SweepOptions]
    ) -> SweepReport:
        """Sweep both.

        With a `budget` the cache's turn comes when the store is done, and lasts until the cache is done as well:
        alternating scans of two stores would hardly ever finish together. A cache that fails does not take the store's
        report away, since what has expired is not returned from the cache either.
        """
        report, budget = self._swept, options.get("budget")
        if report is None or budget is None:
            report = await self._store.delete_expired(strategy, **options)
            if not report.complete and budget is not None:
                return report
        is_complete = report.complete
        try:
            with events.sweeping_copies():
                options["on_expired"] = options["progress"] = None
                of_cache = await self._cache.delete_expired(**options)
            is_complete = report.complete and of_cache.complete
        except SessionError:
            _log.warning("the cache could not be swept; the next sweep tries again", exc_info=True)
        self._swept = SweepReport(report.strategy) if report.complete and not is_complete else None
        return attrs.evolve(report, complete=is_complete)

    async def mark_rotated(self, id: Id, until: datetime) -> None:
        await mark_rotated(self._store, id, until)

    async def was_rotated(self, id: Id) -> bool:
        return await was_rotated(self._store, id)

    @asynccontextmanager
    async def _writing(self, id: Id) -> AsyncIterator[float]:
        """Drop the session from the cache if the block fails, since the store's state is unknown then."""
        start = self._invalidate(id)
        try:
            yield start
        except BaseException:
            if self._max_age is None:  # with `max_age` it is not used any more already
                await self._drop(id)
            raise

    def _invalidate(self, id: Id) -> float:
        """Stop using the cached session until `_keep`, even if that is never reached; returns the time."""
        self._fetched.pop(key_of(id), None)
        return time.monotonic()

    async def _drop(self, id: Id) -> None:
        try:
            await self._cache.delete(id)
        except SessionError:
            if self._max_age is None:  # the old copy would be served for ever; with `max_age` it already is not
                raise

    async def _keep(self, record: Record, start: float) -> None:
        """Cache what the store has; `start` is when it was asked."""
        try:
            await self._cache.save(record)
        except SessionError:
            await self._drop(record.id)
            return
        if self._max_age is None:
            return
        self._fetched[record.id.key] = start
        oldest = time.monotonic() - self._max_age
        while self._fetched and next(iter(self._fetched.values())) <= oldest:
            self._fetched.popitem(last=False)
