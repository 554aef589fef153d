"""Sessions in a sled database: the records in one tree, their expiry index in a second one."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from os import PathLike
from typing import Self, TypeAlias

import attrs

from sled_sessions import events, sled
from sled_sessions.errors import BackendError, DecodeError, SessionError
from sled_sessions.records import Id, Record, codec
from sled_sessions.records.id import KEY_LENGTH
from sled_sessions.stores.clock import Clock, checked, utc_now
from sled_sessions.stores.encoded import MAX_RECORD_BYTES, decode_live, encode_within, record_if_readable
from sled_sessions.stores.protocol import Change, check_change, key_of, seen_by
from sled_sessions.stores.sled.durability import Durability, GroupCommit
from sled_sessions.stores.sled.index import ExpiryIndex
from sled_sessions.stores.sled.indexed_tree import IndexedTree, IndexReport, expiry_of
from sled_sessions.stores.sweep import PROGRESS_STEP, OnExpired, Progress, Sweep, SweepReport, SweepStrategy

_log = logging.getLogger(__name__)

RESOLUTION = timedelta(seconds=1)

_OnDeleted: TypeAlias = Callable[[bytes, bytes], None]
"""Called with the key and the value of each session that a sweep has deleted."""


class SledStore:
    """A `SessionStore` in a tree of a sled database, as the Rust crate `tower-sessions-sled-store` keeps it.

    The records are the crate's, byte for byte. The expiry index lies in the tree's siblings `<name>:expiry` and
    `<name>:meta`, which the crate does not look at. A tree without an index gets one when a store opens it, which
    reads every record once. After a Rust program wrote to the tree, call `rebuild_index`: the crate knows no index.

    Safe to use from several threads, and several stores may share a tree: the one opened last decides about its index.
    One process at a time: sled locks the folder.

    Args:
        tree: The tree of the records, such as `db.open_tree("session")`.
        index: The tree of the index, one of its own; the sibling by default.
        strategy: How `delete_expired` finds expired sessions. With `FULL_SCAN` no index is kept, one that is there is
            dropped (a tree that `index` named is emptied), and the store writes exactly what the crate writes.
        resolution: The step of the index. Saves that move an expiry within one step leave the index alone; a sweep
            looks at up to one step of live sessions. It deletes the same sessions at any resolution.
        durability: What a write waits for before it returns, "interval", "flush" or "fsync"; `Durability` says what
            each may lose. Threads that write at the same time share a flush. A sweep never waits: what comes back
            after a crash is expired, and the next sweep finds it.
        max_record_bytes: Larger records are refused. From 8 KB on (a 64th of a segment, unless `sled.open` was told
            otherwise) sled puts pages of records into files of their own, which it deletes late.
        clock: Returns the present moment as an aware datetime.
        progress: Told how far the index is while it is built.

    Raises:
        sled.SledError: The engine could not read or write the trees.
        TypeError: `tree` or `index` is no tree, or `resolution` no timedelta.
        EncodeError: `clock` returns no aware datetime.
        ValueError: `resolution` is too short or too long, there is no such `durability`, or something else lies in a
            tree that the index needs. Nothing was written.
    """

    def __init__(
        self,
        tree: sled.Tree,
        *,
        index: sled.Tree | None = None,
        strategy: SweepStrategy = SweepStrategy.EXPIRY_INDEX,
        resolution: timedelta = RESOLUTION,
        durability: Durability = "interval",
        max_record_bytes: int = MAX_RECORD_BYTES,
        clock: Clock = utc_now,
        progress: Progress | None = None,
    ) -> None:
        self._begin(tree, strategy, durability, max_record_bytes, clock)
        if self.strategy is SweepStrategy.EXPIRY_INDEX:
            self._sessions.keep_index(index, resolution, progress)
        else:
            self._sessions.drop_index()

    @classmethod
    def as_it_is(cls, tree: sled.Tree) -> Self:
        """A store with the index that the tree has, be it whole, wrong or none: nothing is built, changed or dropped.

        For looking at a database; its sweeps and saves do with such an index what they can.

        Raises:
            sled.SledError: The engine could not read the trees.
            TypeError: `tree` is no tree.
        """
        store = cls.__new__(cls)
        store._begin(tree, SweepStrategy.EXPIRY_INDEX, "interval", MAX_RECORD_BYTES, utc_now)
        store._sessions.use_index()
        return store

    @classmethod
    def open(
        cls,
        path: str | PathLike[str],
        tree: str | bytes = "session",
        *,
        strategy: SweepStrategy = SweepStrategy.EXPIRY_INDEX,
        resolution: timedelta = RESOLUTION,
        durability: Durability = "interval",
        max_record_bytes: int = MAX_RECORD_BYTES,
        clock: Clock = utc_now,
        progress: Progress | None = None,
    ) -> Self:
        """Open a database folder, made when it is not there, and the store in it; `close` then closes the database.

        Raises:
            sled.SledError: The folder could not be opened; `sled.open` lists the reasons.
        """
        db = sled.open(path)
        try:
            store = cls(
                db.open_tree(tree),
                strategy=strategy,
                resolution=resolution,
                durability=durability,
                max_record_bytes=max_record_bytes,
                clock=clock,
                progress=progress,
            )
        except BaseException:
            db.close()
            raise
        store._owned = db
        return store

    def close(self) -> None:
        """Close the database if this store opened it; a tree that it was given stays open."""
        if self._owned is not None:
            self._owned.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def resolution(self) -> timedelta | None:
        """The step of the index; None when none is kept."""
        return None if self._sessions.index is None else self._sessions.index.resolution

    def flush(self, fsync: bool = False) -> int:
        """Write what sled still buffers to the file, with `fsync` down to the disk; returns the bytes written."""
        with _backend_errors():
            return self.tree.db.flush(fsync=fsync)

    # -- the store contract -------------------------------------------------------------------------------------------

    def create(self, record: Record) -> Record:
        """Store a new session and return its record: under another id if this one is taken, never over it.

        Raises:
            EncodeError: The record cannot be written; nothing was.
            BackendError: The engine failed.
        """
        with _backend_errors():
            value, expiry = encode_within(record, self.max_record_bytes)
            while not self._sessions.create(record.id.key, value, expiry):
                record = attrs.evolve(record, id=Id.new())
                value, expiry = encode_within(record, self.max_record_bytes)
            self._settle()
            return record

    def save(self, record: Record) -> None:
        """Store a session, new or known. O(log n); one sled write while the expiry stays within its index step.

        Raises:
            EncodeError: The record cannot be written; nothing was.
            BackendError: The engine failed.
        """
        value, expiry = encode_within(record, self.max_record_bytes)
        try:  # spelled out here, in `load` and in `update`: a context manager would be a tenth of a load
            self._sessions.save(record.id.key, value, expiry)
            self._settle()
        except sled.SledError as error:
            raise BackendError(str(error)) from error

    def load(self, id: Id) -> Record | None:
        """Return a live session's record, or None when it is missing or expired. O(log n).

        Raises:
            DecodeError: What lies under this id is no record.
            BackendError: The engine failed.
        """
        key = key_of(id)
        try:
            value = self._get(key)
        except sled.SledError as error:
            raise BackendError(str(error)) from error
        return None if value is None else decode_live(id, value, self.clock())

    def delete(self, id: Id) -> bool:
        """Remove a session; false when there was none. O(log n).

        Raises:
            BackendError: The engine failed.
        """
        with _backend_errors():
            is_there = self._sessions.remove(key_of(id))
            if is_there:
                self._settle()
            return is_there

    def update(self, id: Id, change: Change) -> Record | None:
        """Read, change and write a live session as one step; None, and no write, when it is gone or expired.

        `change` runs without a lock. When another writer came first, it runs again on what that one wrote.

        Raises:
            EncodeError: The changed record cannot be written; nothing was.
            DecodeError: What lies under this id is no record.
            BackendError: The engine failed.
        """
        key = key_of(id)
        record = seen_by(change, self.clock)
        while True:
            is_guess = record is not None
            if record is None and (record := self.load(id)) is None:
                return None
            old, old_expiry = record.stored, codec.to_microseconds(record.expiry_date)
            try:
                changed = check_change(id, change(record))
                value, expiry = encode_within(changed, self.max_record_bytes)
            except Exception:
                if not is_guess:
                    raise
                record = None  # look before it is said
                continue
            try:
                if self._sessions.swap(key, old, old_expiry, value, expiry):
                    self._settle()
                    changed.stored = value
                    return changed
            except sled.SledError as error:
                raise BackendError(str(error)) from error
            record = None

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
        """Remove the sessions that have expired, and only those; readers and writers go on meanwhile.

        By the index it costs O(log n), and then so much for each expired session; a full scan reads every record.
        Both delete the same sessions. A store that keeps no index always scans.

        Args:
            strategy: How to find them; None is the store's own.
            now: The moment that counts, an aware datetime; None is the store's clock.
            limit: Delete at most so many; the next sweep goes on from there.
            budget: Stop after this time; the next sweep goes on from there.
            on_expired: Called with each record after it was deleted; what it raises ends the sweep.
            progress: Called now and then with how many entries were looked at.

        Raises:
            EncodeError: `now` is naive.
            ValueError: `limit` is less than 1, or there is no such `strategy`.
            TypeError: `budget` is no timedelta.
            BackendError: The engine failed; what was deleted until then stays deleted.
        """
        until = _microseconds(self.clock() if now is None else now, "now")
        index = self._sessions.index
        strategy = SweepStrategy(strategy or self.strategy)
        if index is None:
            strategy = SweepStrategy.FULL_SCAN
        sweep = Sweep(strategy, limit, budget, progress)
        announce: _OnDeleted | None = None
        if on_expired is not None or events.wants_expired():
            announce = partial(events.expired, on_expired=on_expired)
        after = self._resume_after.pop(strategy, None)
        if limit is None and budget is None:
            after = None  # it is going to see everything anyway, so also what has expired behind an earlier part
        with _backend_errors():
            if index is not None and strategy is SweepStrategy.EXPIRY_INDEX:
                stopped_at = self._sweep_index(sweep, index, until, after, announce)
            else:
                stopped_at = self._sweep_records(sweep, until, after, announce)
        if stopped_at is not None:
            self._resume_after[strategy] = stopped_at
        if sweep.undecodable:
            _log.warning("a sweep met %d records that cannot be read; they stay in the store", sweep.undecodable)
        return sweep.report(complete=stopped_at is None)

    # -- looking at what is there -------------------------------------------------------------------------------------

    def count(self) -> int:
        """How many records are stored, expired ones that no sweep has met included. O(n): sled keeps no count.

        Raises:
            BackendError: The engine failed.
        """
        with _backend_errors():
            return len(self.tree)

    def records(self) -> Iterator[Record]:
        """Every record stored, in the order of their ids' bytes, expired ones included.

        Those that `load` could not read are skipped, and at the end the log says how many these were.

        Raises:
            BackendError: The engine failed.
        """
        unreadable = 0
        with _backend_errors():
            for key, value in self.tree:
                if (record := record_if_readable(key, value)) is None:
                    unreadable += 1
                else:
                    yield record
        if unreadable:
            _log.warning("skipped %d records that cannot be read", unreadable)

    def first_expiry(self) -> datetime | None:
        """When the next session expires, or did, rounded down to the resolution; None when there is none.

        O(log n) by the index, where an entry left behind may make it too early, never too late; O(n) without one.

        Raises:
            BackendError: The engine failed.
        """
        index = self._sessions.index
        with _backend_errors():
            first = min((at for at, _ in self._expiries()), default=None) if index is None else index.first()
        return None if first is None else codec.from_microseconds(first)

    def expiring(self, start: datetime | None = None, stop: datetime | None = None) -> Iterator[tuple[datetime, Id]]:
        """The sessions that expire from `start` on and before `stop`, earliest first, without reading the records.

        Expiries come, and are compared, rounded down to the resolution. O(those) by the index; without one O(n log n),
        and exact.

        Raises:
            EncodeError: A bound is naive.
        """
        low = None if start is None else _microseconds(start, "start")
        high = None if stop is None else _microseconds(stop, "stop")
        return self._expiring(low, high)

    def verify_index(self, progress: Progress | None = None) -> IndexReport:
        """Compare the index with the records, O(n); writers go on meanwhile. Without an index nothing can be wrong."""
        with _backend_errors():
            return self._sessions.verify(progress)

    def rebuild_index(self, progress: Progress | None = None) -> IndexReport:
        """Build the index anew from the records, O(n log n). Writers wait meanwhile: `progress` must not write.

        Until it has come to the end, sweeps read every record.

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
        from sled_sessions.display import html, text
        from sled_sessions.stores import shown

        facts: dict[str, object] = {
            "tree": self.tree.name.decode(errors="backslashreplace"),
            "folder": self.tree.db.path,
            "index": shown.steps(self.resolution),
        }
        try:
            facts["sessions"] = text.counted(self.tree.keys())
            stored = [record_if_readable(key, value) for key, value in islice(self.tree, text.COUNT_UP_TO)]
            if unreadable := stored.count(None):
                facts["cannot be read"] = f"{unreadable:,} of the first {len(stored):,}"
            facts["size on disk"] = text.size(self.tree.db.size_on_disk())
            if self._sessions.index is None:
                order, first = "as they are stored", list(islice(filter(None, stored), text.PAGE))
            else:
                order, first = "next to expire", list(islice(self._by_expiry(text.COUNT_UP_TO), text.PAGE))
        except (sled.SledError, SessionError) as error:
            return html.card("SledStore", {**facts, "state": error})
        is_told = bool(stored and not first)  # that there are some, and none to be shown
        return html.card("SledStore", facts, html.Markup() if is_told else shown.first(first, self.clock(), order))

    # -- how ----------------------------------------------------------------------------------------------------------

    def _begin(
        self, tree: sled.Tree, strategy: SweepStrategy, durability: Durability, max_record_bytes: int, clock: Clock
    ) -> None:
        """All of `__init__` but for the index."""
        if not isinstance(tree, sled.Tree):
            raise TypeError(f"tree must be a sled.Tree, not {type(tree).__name__}; SledStore.open(path) opens a folder")
        self.tree = tree
        self.strategy = SweepStrategy(strategy)  # any other word would drop the index
        self.max_record_bytes = max_record_bytes
        self.clock = checked(clock)
        self._get = tree.get
        self._group = GroupCommit.of(tree.db, durability)
        self._sessions = IndexedTree.of(tree)
        self._owned: sled.Db | None = None
        self._resume_after: dict[SweepStrategy, bytes] = {}

    def _settle(self) -> None:
        """Wait, after a write, for what `durability` says."""
        if self._group is not None:
            self._group.wait()

    def _sweep_index(
        self, sweep: Sweep, index: ExpiryIndex, until: int, after: bytes | None, announce: _OnDeleted | None
    ) -> bytes | None:
        """Sweep by the index; returns the entry at which `limit` or `budget` ended it."""
        for entry in index.due(until, after):
            sweep.examined += 1
            self._expire(sweep, entry[-KEY_LENGTH:], until, entry, announce)
            if sweep.is_watched and sweep.step():
                return entry
        return None

    def _sweep_records(
        self, sweep: Sweep, until: int, after: bytes | None, announce: _OnDeleted | None
    ) -> bytes | None:
        """Sweep by reading every record; returns the key at which `limit` or `budget` ended it."""
        latest, decode_moment = codec.latest_moment(until), codec.decode_moment
        examined, is_watched = 0, sweep.is_watched  # attributes would cost a fiftieth of the scan
        for key, value in self.tree.range(None if after is None else after + b"\0"):
            examined += 1
            try:
                moment = decode_moment(value)
                is_due = moment <= latest and codec.moment_to_microseconds(moment) <= until
            except DecodeError:
                sweep.undecodable += 1
                is_due = False
            if is_due:
                self._expire(sweep, key, until, None, announce)
            if is_watched and (is_due or examined % PROGRESS_STEP == 0):
                sweep.examined = examined
                if sweep.step():
                    return key
        sweep.examined = examined
        return None

    def _expire(self, sweep: Sweep, key: bytes, until: int, entry: bytes | None, announce: _OnDeleted | None) -> None:
        try:
            value = self._sessions.expire(key, until, entry)
        except DecodeError:
            sweep.undecodable += 1
            return
        if value is not None:
            sweep.deleted += 1
            if announce is not None:
                announce(key, value)

    def _expiring(self, low: int | None, high: int | None) -> Iterator[tuple[datetime, Id]]:
        index = self._sessions.index
        with _backend_errors():
            found = sorted(self._expiries(low, high)) if index is None else index.between(low, high)
            for at, key in found:
                yield codec.from_microseconds(at), Id(key)

    def _by_expiry(self, entries: int) -> Iterator[Record]:
        """The records in the order of the index, as far as so many of its entries lead."""
        for _, id in islice(self._expiring(None, None), entries):
            value = self._get(id.key)
            if value is not None and (record := record_if_readable(id.key, value)) is not None:
                yield record

    def _expiries(self, low: int | None = None, high: int | None = None) -> Iterator[tuple[int, bytes]]:
        """Expiries and keys read off the records, for want of an index."""
        for key, value in self.tree:
            at = expiry_of(key, value)
            if at is not None and (low is None or at >= low) and (high is None or at < high):
                yield at, key


@contextmanager
def _backend_errors() -> Iterator[None]:
    """Raise the engine's errors as the store contract's `BackendError`."""
    try:
        yield
    except sled.SledError as error:
        raise BackendError(str(error)) from error


def _microseconds(moment: datetime, name: str) -> int:
    return codec.to_microseconds(codec.require_aware(moment, name))
