'''What a session store does: the protocol, for blocking code and for asyncio.

A complete store, here one that keeps its records in a dict. `update` is the method that needs care: it must read,
change and write as one step, so that requests of one session that run at the same time keep each other's changes.

    import threading
    import attrs
    from sled_sessions import DELETE, Id, Record, SweepStrategy
    from sled_sessions.records import codec
    from sled_sessions.stores.clock import utc_now
    from sled_sessions.stores.protocol import check_change, key_of
    from sled_sessions.stores.sweep import Sweep

    class DictStore:
        """Sessions in a dict, as encoded records: what a caller does to a record later does not reach the store."""

        def __init__(self, clock=utc_now):
            self.clock = clock
            self._values = {}
            self._lock = threading.RLock()

        def create(self, record):
            with self._lock:
                while record.id.key in self._values:  # never overwrite: use another id
                    record = attrs.evolve(record, id=Id.new())
                self.save(record)
            return record

        def save(self, record):
            value = record.encode()
            with self._lock:
                self._values[record.id.key] = value

        def load(self, id):
            value = self._values.get(key_of(id))
            return None if value is None else Record.decode_live(id, value, self.clock())  # None if it has expired

        def delete(self, id):
            with self._lock:
                return self._values.pop(key_of(id), None) is not None

        def update(self, id, change, *, seen=None):  # `seen` may save a read; a dict needs no such help
            with self._lock:
                record = self.load(id)
                if record is None:
                    return None
                changed = check_change(id, change(record))
                if changed is DELETE:
                    self.delete(id)
                    return None
                self.save(changed)
                return changed

        def delete_expired(self, strategy=None, **options):
            sweep = Sweep(SweepStrategy(strategy or SweepStrategy.FULL_SCAN), self.clock, **options)
            for key in list(self._values):
                sweep.examined += 1
                with self._lock:
                    value = self._values.get(key)
                    is_due = value is not None and codec.decode_expiry(value) <= sweep.until
                    if is_due and not sweep.dry_run:
                        del self._values[key]
                if is_due:
                    sweep.count_deleted(key, value)
                if sweep.is_over():
                    return sweep.report(complete=False)
            return sweep.report(complete=True)

    store = DictStore()

It works with `SessionMiddleware`, `SessionManager`, `CachingStore` and `Sweeper`. `tests/store_factories.py` runs the
conformance suite on it, and on any store that is added there.
'''

import enum
from collections.abc import Callable
from datetime import datetime
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias, Unpack, runtime_checkable

from sled_sessions.errors import EncodeError
from sled_sessions.records import Id, Record
from sled_sessions.records.record import not_an_id
from sled_sessions.stores.sweep import SweepOptions, SweepReport, SweepStrategy

if TYPE_CHECKING:
    from typing_extensions import TypeIs


class Deletion(enum.Enum):
    """The type of `DELETE`."""

    DELETE = enum.auto()


DELETE: Final = Deletion.DELETE
"""Returned by a `Change` to have the session deleted. It is not None, so that a forgotten `return` deletes nothing."""

Changed: TypeAlias = Record | Literal[Deletion.DELETE]

Change: TypeAlias = Callable[[Record], Changed]
"""The function that `update` is given: takes the record as it is and returns the record as it should be, or `DELETE`.

It is called again when another writer came first, and must not call the store."""


@runtime_checkable
class SessionStore(Protocol):
    """A store for blocking code: tower-sessions' `SessionStore`, with an atomic `update` and a sweep that reports.

    Every method may raise `BackendError`. Those that write raise `EncodeError`, or `RecordTooLarge` below it, when the
    record cannot be written; then nothing was.

    The package's own stores may be used by signal handlers and finalizers. A write there raises `RuntimeError` when it
    interrupts a write of the same session, which it would otherwise wait for.
    """

    def create(self, record: Record) -> Record:
        """Store a new session and return its record: under another id if this one is taken, never over it."""

    def save(self, record: Record) -> None:
        """Store a session, new or known."""

    def load(self, id: Id) -> Record | None:
        """Return a live session's record, or None if it is missing or expired.

        Raises:
            DecodeError: The stored value is not a valid record.
        """

    def delete(self, id: Id) -> bool:
        """Remove a session; false if there was none."""

    def update(self, id: Id, change: Change, *, seen: Record | None = None) -> Record | None:
        """Read, change and write a live session as one atomic step, and return the record that was written.

        Args:
            id: The session's id.
            change: Returns the changed record, or `DELETE` to remove the session in the same step.
            seen: The record that the caller has loaded already. A store that still holds exactly that, which it
                recognises by `seen.version`, may call `change` with it and save itself the read.

        Returns:
            The new record; None if the session is missing or expired (nothing is written) or was deleted by `change`.
            A caller that needs to tell these apart notes it in `change`. If another writer may end the session at the
            same moment, the note may be wrong: `change` then returns the record with an expiry in the past, and this
            returns it to the one that ended the session.
        """

    def delete_expired(self, strategy: SweepStrategy | None = None, **options: Unpack[SweepOptions]) -> SweepReport:
        """Remove expired sessions.

        Args:
            strategy: How to find them; None is the store's own way.
            options: See `SweepOptions`.
        """


@runtime_checkable
class AsyncSessionStore(Protocol):
    """The same contract for asyncio. `change` is an ordinary function there, too."""

    async def create(self, record: Record) -> Record:
        """See `SessionStore.create`."""

    async def save(self, record: Record) -> None:
        """See `SessionStore.save`."""

    async def load(self, id: Id) -> Record | None:
        """See `SessionStore.load`."""

    async def delete(self, id: Id) -> bool:
        """See `SessionStore.delete`."""

    async def update(self, id: Id, change: Change, *, seen: Record | None = None) -> Record | None:
        """See `SessionStore.update`."""

    async def delete_expired(
        self, strategy: SweepStrategy | None = None, **options: Unpack[SweepOptions]
    ) -> SweepReport:
        """See `SessionStore.delete_expired`."""


@runtime_checkable
class RotationMarks(Protocol):
    """What a store may offer besides: marks of ids that were changed, so that a late request does not undo a login.

    Without them a request that arrives with an id that was just changed looks like one with an unknown id. A mark is
    kept beside the records: its id loads as None, and no list of sessions has it.
    """

    def mark_rotated(self, id: Id, until: datetime) -> None:
        """Mark an id as changed until this moment; called before its record is deleted."""

    def was_rotated(self, id: Id) -> bool:
        """Whether an id has a mark that has not ended; called only for an id without a live session."""


@runtime_checkable
class AsyncRotationMarks(Protocol):
    """The same for asyncio."""

    async def mark_rotated(self, id: Id, until: datetime) -> None:
        """See `RotationMarks.mark_rotated`."""

    async def was_rotated(self, id: Id) -> bool:
        """See `RotationMarks.was_rotated`."""


async def mark_rotated(store: AsyncSessionStore, id: Id, until: datetime) -> None:
    """Mark an id as changed, if the store keeps such marks."""
    if isinstance(store, AsyncRotationMarks):
        await store.mark_rotated(id, until)


async def was_rotated(store: AsyncSessionStore, id: Id) -> bool:
    """Whether an id is marked as changed; false for a store that keeps no marks."""
    return isinstance(store, AsyncRotationMarks) and await store.was_rotated(id)


def is_async(store: SessionStore | AsyncSessionStore, method: str = "load") -> "TypeIs[AsyncSessionStore]":
    """Whether a store's methods are coroutines, judged by `method`. At run time the two protocols look the same."""
    return iscoroutinefunction(getattr(store, method))


def check_store(store: object, method: str = "load") -> None:
    """Raise TypeError unless `store` is a store, judged by whether it has `method`."""
    if isinstance(store, type) or not callable(getattr(store, method, None)):
        what = f"the class {store.__name__}" if isinstance(store, type) else type(store).__name__
        raise TypeError(f"store must be a SessionStore or an AsyncSessionStore, not {what}")


def check_blocking(store: SessionStore | AsyncSessionStore, cure: str) -> None:
    """Raise TypeError unless `store` is a blocking store; for an asyncio one the message ends with `cure`."""
    check_store(store)
    if is_async(store):
        raise TypeError(f"store must be a SessionStore, and {type(store).__name__} is asynchronous: {cure}")


def key_of(id: Id) -> bytes:
    """The key of a session's record; TypeError if `id` is not an Id."""
    if not isinstance(id, Id):
        raise not_an_id(id)
    return id.key


def check_change(id: Id, changed: Changed) -> Changed:
    """Return what a `Change` returned; EncodeError if it is neither this session's record nor `DELETE`."""
    if changed is DELETE:
        return changed
    if not isinstance(changed, Record):
        raise EncodeError(
            "the function given to update must return the changed Record, or DELETE to delete the session, "
            f"not {type(changed).__name__}"
        )
    if changed.id is not id and changed.id != id:
        raise EncodeError("the function given to update must not change the record's id; create and delete change ids")
    return changed
