"""The store on sled: the records in one tree, their expiry index in a second one."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from os import PathLike
from typing import Self, TypedDict, Unpack

import attrs

from sled_sessions import sled
from sled_sessions.errors import BackendError, SessionError
from sled_sessions.records import Id, Record, codec
from sled_sessions.records.record import MAX_RECORD_BYTES, not_an_id
from sled_sessions.stores.clock import Clock, checked, utc_now
from sled_sessions.stores.protocol import DELETE, Change, check_change, key_of
from sled_sessions.stores.sled.durability import Durability, GroupCommit
from sled_sessions.stores.sled.indexed_tree import IndexedTree, IndexReport
from sled_sessions.stores.sled.rotated import RotatedIds
from sled_sessions.stores.sled.sweep import Sweeps
from sled_sessions.stores.sweep import OnExpired, Progress, Sweep, SweepReport, SweepStrategy
from sled_sessions.tracebacks import forget_locals, guarded

_log = logging.getLogger(__name__)

RESOLUTION = timedelta(seconds=1)

FLUSH_EVERY_MS = 100
"""How often sled writes its buffers to the file and frees old space in it. With sled's default, 500, the file of a busy
store takes up to three times the space and saves are no faster (measured in `tests/benchmarks/README.md`)."""


class SledStoreOptions(TypedDict, total=False):
    """The keyword arguments of `SledStore`, which describes them."""

    strategy: SweepStrategy
    resolution: timedelta
    durability: Durability
    max_record_bytes: int
    clock: Clock
    progress: Progress | None


class SledStore:
    """A `SessionStore` in a tree of a sled database, with the records of the Rust crate `tower-sessions-sled-store`.

    The records are the crate's, byte for byte. The expiry index is kept in the tree's siblings `<name>:expiry` and
    `<name>:meta`, which the crate ignores. A tree without an index gets one when a store opens it, which reads every
    record once. The crate does not maintain the index: after a Rust program wrote to the tree, call `rebuild_index`.

    Safe to use from several threads, and several stores may share a tree: the one opened last decides about its index.
    One process at a time: sled locks the folder.

    Methods raise `BackendError` if the engine fails; those that write raise `EncodeError` if the record cannot be
    written, and then nothing was; those that read a record raise `DecodeError` if the stored value is not a valid one.

    Args:
        tree: The tree of the records, such as `db.open_tree("session")`.
        strategy: How `delete_expired` finds expired sessions. With `FULL_SCAN` no index is kept, an existing one is
            dropped, and the store writes exactly what the crate writes.
        resolution: The step of the index. Saves that move an expiry within one step leave the index alone; a sweep
            examines up to one step of live sessions. It deletes the same sessions at any resolution.
        durability: What a write waits for before it returns, "interval", "flush" or "fsync"; `Durability` says what
            each may lose. Threads that write at the same time share a flush. A sweep never waits: what a crash brings
            back is expired, and the next sweep deletes it.
        max_record_bytes: Larger records are refused. From 8 KB on (a 64th of a segment, unless `sled.open` was given
            another size) sled puts pages of records into files of their own, which it deletes late.
        clock: Returns the current time as an aware datetime.
        progress: Called with the number of records while the index is built.

    Raises:
        sled.SledError: The engine could not read or write the trees.
        TypeError: `tree` is not a tree, or `resolution` is not a timedelta.
        EncodeError: `clock` does not return an aware datetime.
        ValueError: `resolution` is too short or too long, `durability` is unknown, or a tree that the index needs holds
            something else. Nothing was written.
    """

    @guarded
    def __init__(
        self,
        tree: sled.Tree,
        *,
        strategy: SweepStrategy = SweepStrategy.EXPIRY_INDEX,
        resolution: timedelta = RESOLUTION,
        durability: Durability = "interval",
        max_record_bytes: int = MAX_RECORD_BYTES,
        clock: Clock = utc_now,
        progress: Progress | None = None,
    ) -> None:
        if not isinstance(tree, sled.Tree):
            raise TypeError(f"tree must be a sled.Tree, not {type(tree).__name__}; SledStore.open(path) opens a folder")
        self.tree = tree
        self.strategy = SweepStrategy(strategy)  # refuses unknown names: any but EXPIRY_INDEX drops the index
        self.max_record_bytes = max_record_bytes
        self.clock = checked(clock)
        self._get = tree.get
        self._group = GroupCommit.of(tree.db, durability)
        self._sessions = IndexedTree.of(tree)
        self._rotated = RotatedIds(tree)
        self._sweeps = Sweeps(self._sessions, self._rotated)
        self._owned: sled.Db | None = None
        self._prepare_index(resolution, progress)

    def _prepare_index(self, resolution: timedelta, progress: Progress | None) -> None:
        if self.strategy is SweepStrategy.EXPIRY_INDEX:
            self._sessions.keep_index(resolution, progress)
        else:
            self._sessions.drop_index()

    @staticmethod
    def as_it_is(tree: sled.Tree) -> "SledStore":
        """A store that uses the index that the tree has, if any, and builds, changes or drops none: for inspection."""
        return _UnpreparedStore(tree)

    @classmethod
    def open(
        cls, path: str | PathLike[str], tree: str | bytes = "session", **options: Unpack[SledStoreOptions]
    ) -> Self:
        """Open a database folder and the store in it; `close` then closes the database.

        As `sled.open(path, flush_every_ms=100)` and a tree of it, but for who closes the database.
        """
        db = sled.open(path, flush_every_ms=FLUSH_EVERY_MS)
        try:
            store = cls(db.open_tree(tree), **options)
        except BaseException:
            db.close()
            raise
        store._owned = db
        return store

    def close(self) -> None:
        """Close the database if this store opened it; a tree passed to the constructor stays open."""
        if self._owned is not None:
            with _backend_errors():
                self._owned.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def resolution(self) -> timedelta | None:
        """The step of the index; None without one."""
        return None if self._sessions.index is None else self._sessions.index.resolution

    @property
    def failure(self) -> BackendError | None:
        """Why sessions can be read, but not written any more, for health checks; None while all is well.

        After a write that the disk refused, every other write, `flush` and `close` raises this error at once. Restart
        the server, or close the store and open it again: that recovers what was written before.
        """
        if (failure := self.tree.db.failure) is None:
            return None
        error = BackendError(str(failure))
        error.__cause__ = failure
        return error

    @guarded
    def flush(self, fsync: bool = False) -> int:
        """Write sled's buffers to the file, and with `fsync` to the disk; returns the number of bytes written."""
        with _backend_errors():
            return self.tree.db.flush(fsync=fsync)

    @guarded
    def create(self, record: Record) -> Record:
        """Store a new session and return its record: under another id if this one is taken, never over it."""
        with _backend_errors():
            expiry = codec.to_microseconds(record.expiry_date)
            while not self._sessions.create(record.id.key, record.encode(self.max_record_bytes), expiry):
                record = attrs.evolve(record, id=Id.new())
            self._settle()
            return record

    @guarded
    def save(self, record: Record) -> None:
        """Store a session, new or known. O(log n); one sled write while the expiry stays within its index step."""
        value, expiry = record.encode(self.max_record_bytes), codec.to_microseconds(record.expiry_date)
        try:  # not `_backend_errors`, here, in `load` and in `update`: it would be a tenth of a load
            self._sessions.save(record.id.key, value, expiry)
            if self._group is not None:  # not `_settle`, here and in `update`: a call is a hundredth of a save
                self._group.wait()
        except sled.SledError as error:
            raise BackendError(str(error)) from error

    def load(self, id: Id) -> Record | None:
        """Return a live session's record, or None if it is missing or expired. O(log n)."""
        value = None
        try:  # as `guarded`, here and in `update`, which every request calls
            if not isinstance(id, Id):
                raise not_an_id(id)  # noqa: TRY301 - so that it leaves like any other
            value = self._get(id.key)
            return None if value is None else Record.decode_live(id, value, self.clock())
        except sled.SledError as error:
            raise BackendError(str(error)) from error
        except BaseException as error:
            del id, value
            forget_locals(error)
            raise

    @guarded
    def delete(self, id: Id) -> bool:
        """Remove a session; false if there was none. O(log n)."""
        with _backend_errors():
            is_removed = self._sessions.remove(key_of(id))
            if is_removed:
                self._settle()
            return is_removed

    def update(self, id: Id, change: Change, *, seen: Record | None = None) -> Record | None:
        """Read, change and write a live session as one step; see `SessionStore.update`. O(log n).

        `change` runs without a lock. When another writer came first, it runs again on what that one wrote.
        """
        try:
            return self._update(id, change, seen)
        except BaseException as error:
            del id
            forget_locals(error)
            raise

    def _update(self, id: Id, change: Change, seen: Record | None) -> Record | None:
        record = seen if seen is not None and seen.is_live_state(self.clock()) else None
        while True:
            is_seen = record is not None
            if record is None and (record := self.load(id)) is None:
                return None
            old, old_expiry = record.version, codec.to_microseconds(record.expiry_date)
            value: bytes | None = None
            expiry = old_expiry
            try:
                changed = change(record)
                if not isinstance(changed, Record) or changed.id is not id:
                    changed = check_change(id, changed)
                if changed is not DELETE:
                    value, expiry = changed.encode(self.max_record_bytes), codec.to_microseconds(changed.expiry_date)
            except Exception:
                if not is_seen:
                    raise
                record = None  # retry on the stored record before raising
                continue
            try:
                if self._sessions.swap(id.key, old, old_expiry, value, expiry):
                    if self._group is not None:
                        self._group.wait()
                    if changed is DELETE:
                        return None
                    return Record(id, changed.data, changed.expiry_date, version=value)
            except sled.SledError as error:
                raise BackendError(str(error)) from error
            record = None

    @guarded
    def delete_expired(
        self,
        strategy: SweepStrategy | None = None,
        *,
        now: datetime | None = None,
        limit: int | None = None,
        budget: timedelta | None = None,
        on_expired: OnExpired | None = None,
        progress: Progress | None = None,
        dry_run: bool = False,
    ) -> SweepReport:
        """Remove the sessions that have expired, and only those; readers and writers continue meanwhile.

        By the index it costs O(log n) plus a constant for each expired session; a full scan reads every record. Both
        delete the same sessions. A store without an index always scans.

        `SweepOptions` describes the options. What was deleted before an error stays deleted.

        Raises:
            EncodeError: `now` is naive.
            ValueError: `limit` is less than 1, or `strategy` is unknown.
            TypeError: `budget` is not a timedelta.
        """
        strategy = SweepStrategy(strategy or self.strategy)
        sweep = Sweep(strategy, self.clock, now, limit, budget, on_expired, progress, dry_run)
        with _backend_errors():
            return self._sweeps.run(sweep)

    @guarded
    def mark_rotated(self, id: Id, until: datetime) -> None:
        """Mark an id as changed until this moment; see `RotationMarks`. O(log n); waits for no flush."""
        with _backend_errors():
            self._rotated.mark(key_of(id), codec.to_microseconds(codec.require_aware(until, "until")))

    @guarded
    def was_rotated(self, id: Id) -> bool:
        """Whether an id has a mark that has not ended. O(log n)."""
        with _backend_errors():
            return self._rotated.is_marked(key_of(id), codec.to_microseconds(self.clock()))

    @guarded
    def count(self) -> int:
        """The number of records, including expired ones that no sweep has deleted yet. O(n): sled has no counter."""
        with _backend_errors():
            return len(self.tree)

    @guarded
    def records(self) -> Iterator[Record]:
        """Every record stored, in the order of their ids' bytes, expired ones included.

        Records that cannot be decoded are skipped; a warning in the log says how many.
        """
        unreadable = 0
        with _backend_errors():
            for key, value in self.tree:
                if (record := Record.decode_if_readable(key, value)) is None:
                    unreadable += 1
                else:
                    yield record
        if unreadable:
            _log.warning("skipped %d records that could not be decoded", unreadable)

    @guarded
    def first_expiry(self) -> datetime | None:
        """The earliest expiry, which may be past, rounded down to the resolution; None without sessions.

        O(log n) by the index, where a stale entry may make it too early, never too late; O(n) without an index.
        """
        with _backend_errors():
            first = self._sessions.first_expiry()
        return None if first is None else codec.from_microseconds(first)

    def expiring(self, start: datetime | None = None, stop: datetime | None = None) -> Iterator[tuple[datetime, Id]]:
        """The sessions that expire from `start` on and before `stop`, earliest first, without reading the records.

        Expiries are compared and returned rounded down to the resolution. O(log n + those) by the index; without one
        O(n log n), and exact.

        Raises:
            EncodeError: A bound is naive.
        """
        low, high = (
            None if bound is None else codec.to_microseconds(codec.require_aware(bound, name))
            for name, bound in (("start", start), ("stop", stop))
        )
        return self._expiring(low, high)

    @guarded
    def verify_index(self, progress: Progress | None = None) -> IndexReport:
        """Compare the index with the records, O(n); writers continue meanwhile. True for a store without an index."""
        with _backend_errors():
            return self._sessions.verify(progress)

    @guarded
    def rebuild_index(self, progress: Progress | None = None) -> IndexReport:
        """Build the index anew from the records, O(n log n). Writers wait meanwhile: `progress` must not write.

        Until it is complete, sweeps read every record.

        Raises:
            SessionError: No store on this tree keeps an index.
            BackendError: The engine failed; the next open builds the index.
        """
        with _backend_errors():
            report = self._sessions.rebuild(progress)
        if report is None:
            raise SessionError("this store keeps no index; open it with strategy=SweepStrategy.EXPIRY_INDEX to get one")
        return report

    def __repr__(self) -> str:
        return f"SledStore({self.tree!r}, strategy={self.strategy.name})"

    def _repr_html_(self) -> str:
        from sled_sessions.stores.shown import sled_store

        return sled_store(self._sessions, self.clock())

    @guarded
    def _expiring(self, start: int | None, stop: int | None) -> Iterator[tuple[datetime, Id]]:
        with _backend_errors():
            for at, key in self._sessions.expiries(start, stop):
                yield codec.from_microseconds(at), Id(key)

    def _settle(self) -> None:
        """Wait, after a write, as `durability` demands."""
        if self._group is not None:
            self._group.wait()


class _UnpreparedStore(SledStore):
    def _prepare_index(self, resolution: timedelta, progress: Progress | None) -> None:
        self._sessions.use_index()


@contextmanager
def _backend_errors() -> Iterator[None]:
    """Raise the engine's errors as `BackendError`."""
    try:
        yield
    except sled.SledError as error:
        raise BackendError(str(error)) from error
