"""The store on sled: the records in one tree, their expiry index in a second one."""

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from os import PathLike
from typing import Self, Unpack, cast

import attrs

from sled_sessions import sled
from sled_sessions.errors import BackendError, SessionError
from sled_sessions.records import Id, Record, codec
from sled_sessions.records.record import MAX_RECORD_BYTES, not_an_id
from sled_sessions.stores.clock import Clock, checked, utc_now
from sled_sessions.stores.protocol import DELETE, Change, check_change, key_of
from sled_sessions.stores.sled.durability import Durability, GroupCommit, checked_durability
from sled_sessions.stores.sled.index import step_of
from sled_sessions.stores.sled.indexed_tree import IndexedTree, IndexReport
from sled_sessions.stores.sled.opening import (
    Folder,
    Openable,
    SledStoreOptions,
    Unopened,
    backend_error,
    backend_errors,
    folder_at,
    opening,
)
from sled_sessions.stores.sled.rotated import MarksIds
from sled_sessions.stores.sled.sweep import Sweeps
from sled_sessions.stores.sweep import Progress, Sweep, SweepOptions, SweepReport, SweepStrategy
from sled_sessions.tracebacks import forget_locals, guarded

_log = logging.getLogger(__name__)

RESOLUTION = timedelta(seconds=1)


class SledStore(Openable, MarksIds):
    """A `SessionStore` in a tree of a sled database, with the records of the Rust crate `tower-sessions-sled-store`.

    The records are the crate's, byte for byte. The expiry index is kept in the tree's siblings `<name>:expiry` and
    `<name>:meta`, which the crate ignores. A tree without an index gets one when a store opens it, which reads every
    record once. The crate does not maintain the index: after a Rust program wrote to the tree, call `rebuild_index`.

    Safe to use from several threads, and several stores may share a tree: the one opened last decides about its index.
    One process at a time: sled locks the folder.

    Methods raise `BackendError` if the engine fails; those that write raise `EncodeError` if the record cannot be
    written, and then nothing was; those that read a record raise `DecodeError` if the stored value is not a valid one.

    Args:
        tree: The tree of the records, such as `db.open_tree("session")`; `at` and `open` take a folder.
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
        tree: sled.Tree | Folder,
        *,
        strategy: SweepStrategy = SweepStrategy.EXPIRY_INDEX,
        resolution: timedelta = RESOLUTION,
        durability: Durability = "interval",
        max_record_bytes: int = MAX_RECORD_BYTES,
        clock: Clock = utc_now,
        progress: Progress | None = None,
    ) -> None:
        if not isinstance(tree, sled.Tree | Folder):
            raise TypeError(f"tree must be a sled.Tree, not {type(tree).__name__}; SledStore.open(path) opens a folder")
        self.strategy = SweepStrategy(strategy)  # refuses unknown names: any but EXPIRY_INDEX drops the index
        self.max_record_bytes = max_record_bytes
        self.clock = checked(clock)
        step_of(resolution)  # refuse a wrong one before a database is opened
        self._resolution = resolution
        self._durability = checked_durability(durability)
        self._progress = progress
        self._group: GroupCommit | None = None
        super().__init__(tree if isinstance(tree, Folder) else None)
        if isinstance(tree, sled.Tree):
            self._use(tree)

    @staticmethod
    def as_it_is(tree: sled.Tree) -> "SledStore":
        """A store that uses the index that the tree has, if any, and builds, changes or drops none: for inspection."""
        return _UnpreparedStore(tree)

    @classmethod
    def at(cls, path: str | PathLike[str], tree: str | bytes = "session", **options: Unpack[SledStoreOptions]) -> Self:
        """Make a store that opens its folder on first use, or when entered with `with store:`. Nothing is touched here.

        So importing an app opens nothing, and the app can be started several times. A relative path is below the
        current working directory. `with` blocks can be nested: the last one to end closes the database. After that, and
        after `close`, calls raise `BackendError` (a sweep does nothing), and only entering opens the store again.

        When the folder cannot be opened, entering raises what `open` does, and calls raise `BackendError`. Wrong
        arguments raise here.
        """
        return cls(folder_at(path, tree), **options)

    @classmethod
    def open(
        cls, path: str | PathLike[str], tree: str | bytes = "session", **options: Unpack[SledStoreOptions]
    ) -> Self:
        """Open a database folder and the store in it; `close` then closes the database, for good.

        As `sled.open(path, flush_every_ms=100)` and a tree of it, but for who closes the database.
        """
        with opening(path) as db:
            store = cls(db.open_tree(tree), **options)
            store._db = db
            return store

    def _use(self, tree: sled.Tree) -> None:
        sessions = IndexedTree.of(tree)
        self._prepare_index(sessions)
        self._group = GroupCommit.of(tree.db, self._durability)
        self._get, self._sweeps, self._sessions = tree.get, Sweeps(sessions), sessions

    def _prepare_index(self, sessions: IndexedTree) -> None:
        if self.strategy is SweepStrategy.EXPIRY_INDEX:
            sessions.keep_index(self._resolution, self._progress)
        else:
            sessions.drop_index()

    def _forget(self) -> None:
        self._get = lambda key: self._opened()._get(key)
        self._sweeps = cast("Sweeps", Unopened(lambda: self._opened()._sweeps))
        self._sessions = cast("IndexedTree", Unopened(lambda: self._opened()._sessions))

    @property
    def tree(self) -> sled.Tree:
        """The tree of the records. Asking opens a store of `at` that is new."""
        with backend_errors():
            return self._sessions.tree

    @property
    def resolution(self) -> timedelta | None:
        """The step of the index; None without one."""
        with backend_errors():
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
        with backend_errors():
            return self.tree.db.flush(fsync=fsync)

    @guarded
    def create(self, record: Record) -> Record:
        """Store a new session and return its record: under another id if this one is taken, never over it."""
        with backend_errors():
            expiry = codec.to_microseconds(record.expiry_date)
            while not self._sessions.create(record.id.key, record.encode(self.max_record_bytes), expiry):
                record = attrs.evolve(record, id=Id.new())
            self._settle()
            return record

    @guarded
    def save(self, record: Record) -> None:
        """Store a session, new or known. O(log n); one sled write while the expiry stays within its index step."""
        value, expiry = record.encode(self.max_record_bytes), codec.to_microseconds(record.expiry_date)
        try:  # not `backend_errors`, here, in `load` and in `update`: it would be a tenth of a load
            self._sessions.save(record.id.key, value, expiry)
            if self._group is not None:  # not `_settle`, here and in `update`: a call is a hundredth of a save
                self._group.wait()
        except sled.SledError as error:
            raise backend_error(error) from error

    def load(self, id: Id) -> Record | None:
        """Return a live session's record, or None if it is missing or expired. O(log n)."""
        value = None
        try:  # as `guarded`, here and in `update`, which every request calls
            if not isinstance(id, Id):
                raise not_an_id(id)  # noqa: TRY301 - so that it leaves like any other
            value = self._get(id.key)
            return None if value is None else Record.decode_live(id, value, self.clock())
        except sled.SledError as error:
            raise backend_error(error) from error
        except BaseException as error:
            del id, value
            forget_locals(error)
            raise

    @guarded
    def delete(self, id: Id) -> bool:
        """Remove a session; false if there was none. O(log n)."""
        with backend_errors():
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
                raise backend_error(error) from error
            record = None

    @guarded
    def delete_expired(self, strategy: SweepStrategy | None = None, **options: Unpack[SweepOptions]) -> SweepReport:
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
        sweep = Sweep(strategy, self.clock, **options)
        with backend_errors():
            try:
                return self._sweeps.run(sweep)
            except sled.ClosedError:
                if self._folder is None:
                    raise
                return sweep.report(complete=True)  # not an error: a Sweeper may end after the store

    @guarded
    def count(self) -> int:
        """The number of records, including expired ones that no sweep has deleted yet. O(n): sled has no counter."""
        with backend_errors():
            return len(self.tree)

    @guarded
    def records(self) -> Iterator[Record]:
        """Every record stored, in the order of their ids' bytes, expired ones included.

        Records that cannot be decoded are skipped; a warning in the log says how many.
        """
        unreadable = 0
        with backend_errors():
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
        with backend_errors():
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
        with backend_errors():
            return self._sessions.verify(progress)

    @guarded
    def rebuild_index(self, progress: Progress | None = None) -> IndexReport:
        """Build the index anew from the records, O(n log n). Writers wait meanwhile: `progress` must not write.

        Until it is complete, sweeps read every record.

        Raises:
            SessionError: No store on this tree keeps an index.
            BackendError: The engine failed; the next open builds the index.
        """
        with backend_errors():
            report = self._sessions.rebuild(progress)
        if report is None:
            raise SessionError("this store keeps no index; open it with strategy=SweepStrategy.EXPIRY_INDEX to get one")
        return report

    def __repr__(self) -> str:
        if (folder := self._folder) is not None:
            return f"SledStore.at({str(folder.path)!r}, tree={folder.tree!r}, strategy={self.strategy.name})"
        return f"SledStore({self.tree!r}, strategy={self.strategy.name})"

    def _repr_html_(self) -> str:
        from sled_sessions.stores import shown

        if self._folder is not None and not self.is_open:
            return shown.unopened_store(self._folder, self.is_new)
        return shown.sled_store(self._sessions, self.clock())

    @guarded
    def _expiring(self, start: int | None, stop: int | None) -> Iterator[tuple[datetime, Id]]:
        with backend_errors():
            for at, key in self._sessions.expiries(start, stop):
                yield codec.from_microseconds(at), Id(key)

    def _settle(self) -> None:
        """Wait, after a write, as `durability` demands."""
        if self._group is not None:
            self._group.wait()


class _UnpreparedStore(SledStore):
    def _prepare_index(self, sessions: IndexedTree) -> None:
        sessions.use_index()
