"""A blocking store for code that awaits."""

from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from sled_sessions.records import Id, Record
from sled_sessions.stores.protocol import Change, SessionStore, check_blocking
from sled_sessions.stores.sweep import OnExpired, Progress, SweepReport, SweepStrategy

_T = TypeVar("_T")


class AsyncStore:
    """An `AsyncSessionStore` on a `SessionStore`.

    Calls run inline by default: on sled and in memory they take microseconds, less than a thread costs. The exceptions
    are a sweep by full scan (give it a `budget`, or use a `Sweeper`) and writes that wait for the disk (`durability`).

    Args:
        store: The blocking store.
        in_thread: Run each call in asyncio's thread pool, off the event loop: for stores that wait for a network or
            for a slow disk. A call that is cancelled, as by a timeout, ends when the thread has come to its end, since
            nothing stops that: what it writes does not come after what the program does next.

    Raises:
        TypeError: `store` is no store, or asynchronous already.
    """

    def __init__(self, store: SessionStore, *, in_thread: bool = False) -> None:
        check_blocking(store, "use it as it is")
        self.store = store
        self.in_thread = in_thread

    def __repr__(self) -> str:
        return f"AsyncStore({self.store!r})"

    async def create(self, record: Record) -> Record:
        """See `SessionStore.create`."""
        return await self._call(partial(self.store.create, record))

    async def save(self, record: Record) -> None:
        """See `SessionStore.save`."""
        await self._call(partial(self.store.save, record))

    async def load(self, id: Id) -> Record | None:
        """See `SessionStore.load`."""
        return await self._call(partial(self.store.load, id))

    async def delete(self, id: Id) -> bool:
        """See `SessionStore.delete`."""
        return await self._call(partial(self.store.delete, id))

    async def update(self, id: Id, change: Change) -> Record | None:
        """See `SessionStore.update`."""
        return await self._call(partial(self.store.update, id, change))

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
        """See `SessionStore.delete_expired`."""
        return await self._call(
            partial(
                self.store.delete_expired,
                strategy,
                now=now,
                limit=limit,
                budget=budget,
                on_expired=on_expired,
                progress=progress,
            )
        )

    async def _call(self, call: Callable[[], _T]) -> _T:
        if not self.in_thread:
            return call()
        import asyncio  # only here: it would be half of what importing this package costs

        running = asyncio.get_running_loop().run_in_executor(None, copy_context().run, call)
        try:
            await asyncio.wait([running])  # which leaves it running when it is cancelled
        except asyncio.CancelledError:
            while not running.done():
                with suppress(asyncio.CancelledError):  # anyio cancels a task again each time that it waits
                    await asyncio.wait([running])
            if not running.cancelled():
                running.exception()  # or asyncio would log that nobody has asked
            raise
        return running.result()
