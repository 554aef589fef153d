"""A store whose calls are timed and counted, for OpenTelemetry, Prometheus or any other metrics library."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Literal, TypeAlias, TypeVar, Unpack, overload

import attrs

from sled_sessions.records import Id, Record
from sled_sessions.stores.adapter import AsyncStore, BlockingStore
from sled_sessions.stores.protocol import (
    AsyncSessionStore,
    Change,
    SessionStore,
    check_store,
    is_async,
    mark_rotated,
    was_rotated,
)
from sled_sessions.stores.sweep import SweepOptions, SweepReport, SweepStrategy

Operation: TypeAlias = Literal[
    "create", "save", "load", "delete", "update", "delete_expired", "mark_rotated", "was_rotated"
]
CallOutcome: TypeAlias = Literal["ok", "missing", "error"]

_T = TypeVar("_T")


@attrs.define
class StoreCall:
    """One call of a store.

    Attributes:
        operation: The method's name.
        seconds: How long it took; on an asyncio store until the answer, whatever else ran meanwhile.
        outcome: "ok"; "missing" when there was no live session, or no mark; "error" when it raised.
        report: What a sweep did.
    """

    operation: Operation
    seconds: float = 0.0
    outcome: CallOutcome = "ok"
    report: SweepReport | None = None


Observer: TypeAlias = Callable[[StoreCall], object]
"""Called after each call, on the caller's thread; an exception it raises reaches the caller of the store."""


@overload
def observe(store: SessionStore, observer: Observer) -> SessionStore: ...


@overload
def observe(store: AsyncSessionStore, observer: Observer) -> AsyncSessionStore: ...


def observe(store: SessionStore | AsyncSessionStore, observer: Observer) -> SessionStore | AsyncSessionStore:
    """Wrap a store so that an observer is called after each of its calls. The result is of the store's kind.

        calls = prometheus_client.Histogram("session_store_seconds", "...", ["operation", "outcome"])
        store = observe(store, lambda call: calls.labels(call.operation, call.outcome).observe(call.seconds))

    Raises:
        TypeError: `store` is not a store.
    """
    check_store(store)
    return _AsyncObserved(store, observer) if is_async(store) else _BlockingObserved(store, observer)


class _AsyncObserved:
    def __init__(self, store: AsyncSessionStore, observer: Observer) -> None:
        self.store = store
        self.observer = observer

    def __repr__(self) -> str:
        return f"observe({self.store!r})"

    async def create(self, record: Record) -> Record:
        with self._timed("create"):
            return await self.store.create(record)

    async def save(self, record: Record) -> None:
        with self._timed("save"):
            await self.store.save(record)

    async def load(self, id: Id) -> Record | None:
        with self._timed("load") as call:
            return _found(call, await self.store.load(id))

    async def delete(self, id: Id) -> bool:
        with self._timed("delete") as call:
            return _found(call, await self.store.delete(id))

    async def update(self, id: Id, change: Change, *, seen: Record | None = None) -> Record | None:
        with self._timed("update") as call:
            return _found(call, await self.store.update(id, change, seen=seen))

    async def delete_expired(
        self, strategy: SweepStrategy | None = None, **options: Unpack[SweepOptions]
    ) -> SweepReport:
        with self._timed("delete_expired") as call:
            call.report = await self.store.delete_expired(strategy, **options)
            return call.report

    async def mark_rotated(self, id: Id, until: datetime) -> None:
        with self._timed("mark_rotated"):
            await mark_rotated(self.store, id, until)

    async def was_rotated(self, id: Id) -> bool:
        with self._timed("was_rotated") as call:
            return _found(call, await was_rotated(self.store, id))

    @contextmanager
    def _timed(self, operation: Operation) -> Iterator[StoreCall]:
        call = StoreCall(operation)
        start = time.perf_counter()
        try:
            yield call
        except BaseException:
            call.outcome = "error"
            raise
        finally:
            call.seconds = time.perf_counter() - start
            self.observer(call)


def _found(call: StoreCall, answer: _T) -> _T:
    if not answer:
        call.outcome = "missing"
    return answer


class _BlockingObserved(BlockingStore):
    def __init__(self, store: SessionStore, observer: Observer) -> None:
        super().__init__(_AsyncObserved(AsyncStore(store), observer))
        self.store = store

    def __repr__(self) -> str:
        return f"observe({self.store!r})"
