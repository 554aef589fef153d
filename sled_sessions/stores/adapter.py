"""Blocking stores for code that awaits, and the other way round.

Code that calls a store is written once, as `async def`. On a blocking store it runs over an `AsyncStore`, whose calls
never suspend, so that one step of the coroutine, made by `run_inline`, is all of it.
"""

from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import copy_context
from datetime import datetime
from functools import partial
from typing import Any, TypeVar, Unpack

from sled_sessions.records import Id, Record
from sled_sessions.stores.locks import KeyLocks
from sled_sessions.stores.protocol import (
    AsyncSessionStore,
    Change,
    RotationMarks,
    SessionStore,
    check_blocking,
    is_async,
    key_of,
    mark_rotated,
    was_rotated,
)
from sled_sessions.stores.sweep import SweepOptions, SweepReport, SweepStrategy
from sled_sessions.tracebacks import guarded

_T = TypeVar("_T")


class AsyncStore:
    """An `AsyncSessionStore` on a `SessionStore`.

    By default calls run inline: on sled and in memory they take microseconds, less than handing them to a thread costs.
    The exceptions are a full scan (give it a `budget`, or use a `Sweeper`) and writes that wait for the disk.

    Args:
        store: The blocking store.
        in_thread: Run each call in asyncio's thread pool, off the event loop: for stores that wait for a network or a
            slow disk. Cancelling such a call waits for the thread, so that its write does not come after later ones.

    Raises:
        TypeError: `store` is not a store, or is asynchronous already.
    """

    def __init__(self, store: SessionStore, *, in_thread: bool = False) -> None:
        check_blocking(store, "use it directly")
        self.store = store
        self.in_thread = in_thread

    def __repr__(self) -> str:
        return f"AsyncStore({self.store!r})"

    async def create(self, record: Record) -> Record:
        """See `SessionStore.create`."""
        if self.in_thread:
            return await _call_in_thread(partial(self.store.create, record))
        return self.store.create(record)

    async def save(self, record: Record) -> None:
        """See `SessionStore.save`."""
        if self.in_thread:
            return await _call_in_thread(partial(self.store.save, record))
        return self.store.save(record)

    async def load(self, id: Id) -> Record | None:
        """See `SessionStore.load`."""
        if self.in_thread:
            return await _call_in_thread(partial(self.store.load, id))
        return self.store.load(id)

    async def delete(self, id: Id) -> bool:
        """See `SessionStore.delete`."""
        if self.in_thread:
            return await _call_in_thread(partial(self.store.delete, id))
        return self.store.delete(id)

    async def update(self, id: Id, change: Change, *, seen: Record | None = None) -> Record | None:
        """See `SessionStore.update`."""
        if self.in_thread:
            return await _call_in_thread(partial(self.store.update, id, change, seen=seen))
        return self.store.update(id, change, seen=seen)

    async def delete_expired(
        self, strategy: SweepStrategy | None = None, **options: Unpack[SweepOptions]
    ) -> SweepReport:
        """See `SessionStore.delete_expired`."""
        if self.in_thread:
            return await _call_in_thread(partial(self.store.delete_expired, strategy, **options))
        return self.store.delete_expired(strategy, **options)

    async def mark_rotated(self, id: Id, until: datetime) -> None:
        """See `RotationMarks.mark_rotated`; does nothing if the store keeps no marks."""
        if isinstance(self.store, RotationMarks):
            if self.in_thread:
                await _call_in_thread(partial(self.store.mark_rotated, id, until))
            else:
                self.store.mark_rotated(id, until)

    async def was_rotated(self, id: Id) -> bool:
        """See `RotationMarks.was_rotated`; false if the store keeps no marks."""
        if not isinstance(self.store, RotationMarks):
            return False
        if self.in_thread:
            return await _call_in_thread(partial(self.store.was_rotated, id))
        return self.store.was_rotated(id)


class BlockingStore:
    """A `SessionStore` on an `AsyncSessionStore` that never suspends; each call holds its key in `locks`."""

    def __init__(self, store: AsyncSessionStore, locks: KeyLocks | None = None) -> None:
        self._async = store
        self._locks = locks

    def __repr__(self) -> str:
        return repr(self._async)

    @guarded
    def create(self, record: Record) -> Record:
        """See `SessionStore.create`."""
        return self._call(record.id.key, self._async.create, record)

    @guarded
    def save(self, record: Record) -> None:
        """See `SessionStore.save`."""
        self._call(record.id.key, self._async.save, record)

    @guarded
    def load(self, id: Id) -> Record | None:
        """See `SessionStore.load`."""
        return self._call(key_of(id), self._async.load, id)

    @guarded
    def delete(self, id: Id) -> bool:
        """See `SessionStore.delete`."""
        return self._call(key_of(id), self._async.delete, id)

    @guarded
    def update(self, id: Id, change: Change, *, seen: Record | None = None) -> Record | None:
        """See `SessionStore.update`."""
        return self._call(key_of(id), partial(self._async.update, seen=seen), id, change)

    @guarded
    def delete_expired(self, strategy: SweepStrategy | None = None, **options: Unpack[SweepOptions]) -> SweepReport:
        """See `SessionStore.delete_expired`."""
        return run_inline(self._async.delete_expired(strategy, **options), self)

    @guarded
    def mark_rotated(self, id: Id, until: datetime) -> None:
        """See `RotationMarks.mark_rotated`; does nothing if the store keeps no marks."""
        run_inline(mark_rotated(self._async, id, until), self)

    @guarded
    def was_rotated(self, id: Id) -> bool:
        """See `RotationMarks.was_rotated`; false if the store keeps no marks."""
        return run_inline(was_rotated(self._async, id), self)

    def _call(self, key: bytes, method: Callable[..., Coroutine[Any, Any, _T]], *arguments: object) -> _T:
        def run() -> _T:
            return run_inline(method(*arguments), self)

        return run() if self._locks is None else self._locks.hold(key, run)


def as_async(store: SessionStore | AsyncSessionStore) -> AsyncSessionStore:
    """The store itself if it is asynchronous, or else an inline `AsyncStore` on it."""
    return store if is_async(store) else AsyncStore(store)


def run_inline(coroutine: Coroutine[Any, Any, _T], store: object) -> _T:
    """Run a coroutine that awaits nothing but calls of inline stores, without an event loop.

    Raises:
        RuntimeError: It suspended. The error names the store, and the coroutine was closed, so that it holds no lock.
    """
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    coroutine.close()
    raise RuntimeError(f"{store!r} waits for an event loop: use it with await, not as a blocking store")


async def _call_in_thread(call: Callable[[], _T]) -> _T:
    import asyncio  # here, since it is half of what importing this package costs

    running = asyncio.get_running_loop().run_in_executor(None, copy_context().run, call)
    try:
        await asyncio.wait([running])  # cancelling this leaves the call running
    except asyncio.CancelledError:
        while not running.done():
            with suppress(asyncio.CancelledError):  # anyio cancels a task again each time it waits
                await asyncio.wait([running])
        if not running.cancelled():
            running.exception()  # retrieve it, so that asyncio does not log it as unretrieved
        raise
    return running.result()
