"""A store whose calls are counted and timed, for OpenTelemetry, Prometheus or whatever else takes numbers."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Literal, TypeAlias, TypeVar

import attrs

from sled_sessions.records import Id, Record
from sled_sessions.stores.protocol import AsyncSessionStore, Change, SessionStore, check_blocking, check_store, is_async
from sled_sessions.stores.sweep import OnExpired, Progress, SweepReport, SweepStrategy

Operation: TypeAlias = Literal["create", "save", "load", "delete", "update", "delete_expired"]
Outcome: TypeAlias = Literal["ok", "missing", "error"]

_T = TypeVar("_T")


@attrs.define
class StoreCall:
    """One call of a store.

    Attributes:
        operation: The method's name.
        seconds: How long it took.
        outcome: "ok"; "missing" when there was no such session, or none that is live; "error" when it raised.
        report: What a sweep did.
    """

    operation: Operation
    seconds: float = 0.0
    outcome: Outcome = "ok"
    report: SweepReport | None = None

    def found(self, answer: _T) -> _T:
        """Take note of what the store answered, and return it."""
        if not answer:
            self.outcome = "missing"
        return answer


Observer: TypeAlias = Callable[[StoreCall], object]
"""Called after each call, on its thread; what it raises the caller of the store gets."""


class ObservedStore:
    """A `SessionStore` that tells an observer of each call.

        calls = prometheus_client.Histogram("session_store_seconds", "...", ["operation", "outcome"])
        store = ObservedStore(store, lambda call: calls.labels(call.operation, call.outcome).observe(call.seconds))

    Args:
        store: The store that does the work.
        observer: Called after each call, on the caller's thread, with a `StoreCall`.

    Raises:
        TypeError: `store` is no store, or asynchronous.
    """

    def __init__(self, store: SessionStore, observer: Observer) -> None:
        check_blocking(store, "observe it with an AsyncObservedStore")
        self.store = store
        self.observer = observer

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.store!r})"

    def create(self, record: Record) -> Record:
        """See `SessionStore.create`."""
        with _observed("create", self.observer):
            return self.store.create(record)

    def save(self, record: Record) -> None:
        """See `SessionStore.save`."""
        with _observed("save", self.observer):
            self.store.save(record)

    def load(self, id: Id) -> Record | None:
        """See `SessionStore.load`."""
        with _observed("load", self.observer) as call:
            return call.found(self.store.load(id))

    def delete(self, id: Id) -> bool:
        """See `SessionStore.delete`."""
        with _observed("delete", self.observer) as call:
            return call.found(self.store.delete(id))

    def update(self, id: Id, change: Change) -> Record | None:
        """See `SessionStore.update`."""
        with _observed("update", self.observer) as call:
            return call.found(self.store.update(id, change))

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
        """See `SessionStore.delete_expired`."""
        with _observed("delete_expired", self.observer) as call:
            call.report = self.store.delete_expired(
                strategy, now=now, limit=limit, budget=budget, on_expired=on_expired, progress=progress
            )
            return call.report


class AsyncObservedStore:
    """The same for an `AsyncSessionStore`; the seconds are those until the answer, whatever else ran meanwhile.

    Raises:
        TypeError: `store` is no store, or blocking.
    """

    def __init__(self, store: AsyncSessionStore, observer: Observer) -> None:
        check_store(store)
        if not is_async(store):
            name = type(store).__name__
            raise TypeError(f"store must be an AsyncSessionStore, and {name} is blocking: use an ObservedStore")
        self.store = store
        self.observer = observer

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.store!r})"

    async def create(self, record: Record) -> Record:
        """See `SessionStore.create`."""
        with _observed("create", self.observer):
            return await self.store.create(record)

    async def save(self, record: Record) -> None:
        """See `SessionStore.save`."""
        with _observed("save", self.observer):
            await self.store.save(record)

    async def load(self, id: Id) -> Record | None:
        """See `SessionStore.load`."""
        with _observed("load", self.observer) as call:
            return call.found(await self.store.load(id))

    async def delete(self, id: Id) -> bool:
        """See `SessionStore.delete`."""
        with _observed("delete", self.observer) as call:
            return call.found(await self.store.delete(id))

    async def update(self, id: Id, change: Change) -> Record | None:
        """See `SessionStore.update`."""
        with _observed("update", self.observer) as call:
            return call.found(await self.store.update(id, change))

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
        with _observed("delete_expired", self.observer) as call:
            call.report = await self.store.delete_expired(
                strategy, now=now, limit=limit, budget=budget, on_expired=on_expired, progress=progress
            )
            return call.report


@contextmanager
def _observed(operation: Operation, observer: Observer) -> Iterator[StoreCall]:
    call = StoreCall(operation)
    start = time.perf_counter()
    try:
        yield call
    except BaseException:
        call.outcome = "error"
        raise
    finally:
        call.seconds = time.perf_counter() - start
        observer(call)
