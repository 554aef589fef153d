"""What every store can do, once for blocking code and once for asyncio."""

from collections.abc import Callable
from datetime import datetime, timedelta
from inspect import iscoroutinefunction
from typing import Protocol, TypeGuard, cast, runtime_checkable

import attrs

from sled_sessions.errors import EncodeError
from sled_sessions.records import Id, Record
from sled_sessions.records.id import not_an_id
from sled_sessions.stores.clock import Clock
from sled_sessions.stores.sweep import OnExpired, Progress, SweepReport, SweepStrategy

Change = Callable[[Record], Record]
"""What `update` is given: from the record as it is now to the record as it shall be. It may be called again when
another writer came first, and must not call the store."""


@attrs.define
class BasedOn:
    """A `Change` that brings along the record it was made for.

    If that is still what is stored, byte for byte, a store may begin with it and spare itself the reading.

    Attributes:
        seen: The record, as the store's `load` returned it.
        change: The change. It must leave the record that it gets alone.
    """

    seen: Record
    change: Change = attrs.field(repr=False)  # a traceback may show it, and it may hold what is to be written

    def __call__(self, record: Record) -> Record:
        """The changed record."""
        return self.change(record)


@runtime_checkable
class SessionStore(Protocol):
    """A store for blocking code; tower-sessions' `SessionStore` contract, with `update` and a sweep that reports.

    Every method may raise `BackendError`; those that write raise `EncodeError` (`RecordTooLarge` below it) when the
    record cannot be written, and then nothing was.
    """

    def create(self, record: Record) -> Record:
        """Store a new session and return its record: under another id if this one is taken, never over it."""

    def save(self, record: Record) -> None:
        """Store a session, new or known."""

    def load(self, id: Id) -> Record | None:
        """Return a live session's record, or None when it is missing or expired.

        Raises:
            DecodeError: What lies under this id is no record.
        """

    def delete(self, id: Id) -> bool:
        """Remove a session; false when there was none."""

    def update(self, id: Id, change: Change) -> Record | None:
        """Read, change and write a live session as one step; None, and no write, when it is gone or expired."""

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
        """Remove the sessions that have expired at `now`.

        Args:
            strategy: How to find them; None is the store's own way.
            now: The moment that counts; None is the store's clock.
            limit: Delete at most so many.
            budget: Start no further step after this time.
            on_expired: Called with each record after it was deleted.
            progress: Called now and then with how many entries were looked at.
        """


@runtime_checkable
class AsyncSessionStore(Protocol):
    """The same contract for asyncio; `change` is an ordinary function there, too."""

    async def create(self, record: Record) -> Record:
        """See `SessionStore.create`."""

    async def save(self, record: Record) -> None:
        """See `SessionStore.save`."""

    async def load(self, id: Id) -> Record | None:
        """See `SessionStore.load`."""

    async def delete(self, id: Id) -> bool:
        """See `SessionStore.delete`."""

    async def update(self, id: Id, change: Change) -> Record | None:
        """See `SessionStore.update`."""

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


def is_async(store: SessionStore | AsyncSessionStore, method: str = "load") -> TypeGuard[AsyncSessionStore]:
    """Whether a store's methods are to be awaited, as `method` is. At run time the two protocols look the same."""
    return iscoroutinefunction(getattr(store, method))


def check_store(store: object, method: str = "load") -> None:
    """Make sure that this is a store, or has what is needed of one: `method`, and what belongs to that.

    Raises:
        TypeError: It is none.
    """
    if isinstance(store, type) or not callable(getattr(store, method, None)):
        what = f"the class {store.__name__}" if isinstance(store, type) else type(store).__name__
        raise TypeError(f"store must be a SessionStore or an AsyncSessionStore, not {what}")


def check_blocking(store: object, cure: str) -> None:
    """Make sure that this is a store whose methods need not be awaited.

    Raises:
        TypeError: It is none; the message says what to do with one that is asynchronous.
    """
    check_store(store)
    if is_async(cast("SessionStore", store)):
        raise TypeError(f"store must be a SessionStore, and {type(store).__name__} is asynchronous: {cure}")


def key_of(id: Id) -> bytes:
    """The key of a record.

    Raises:
        TypeError: `id` is no Id.
    """
    if not isinstance(id, Id):
        raise not_an_id(id)
    return id.key


def seen_by(change: Change, clock: Clock) -> Record | None:
    """The record that a change begins with, if it brings one along that is known to the byte and live."""
    if not isinstance(change, BasedOn):
        return None
    record = change.seen
    return record if record.stored and record.expiry_date > clock() else None


def check_change(id: Id, changed: Record) -> Record:
    """What a `Change` returned, once it is clear that `update(id, ...)` may write it.

    Raises:
        EncodeError: It is no record, or another session's.
    """
    if not isinstance(changed, Record):
        raise EncodeError(f"the function given to update must return the changed Record, not {type(changed).__name__}")
    if changed.id is not id and changed.id != id:
        raise EncodeError("the function given to update must leave the record's id alone; create and delete change ids")
    return changed
