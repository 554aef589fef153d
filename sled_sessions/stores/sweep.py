"""What a sweep takes and returns: the strategy, its options, the report."""

import enum
import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypedDict

import attrs

from sled_sessions import events
from sled_sessions.errors import DecodeError
from sled_sessions.records import Record, codec
from sled_sessions.stores.clock import Clock

_log = logging.getLogger(__name__)

OnExpired = Callable[[Record], object]
"""Called with each expired record after the sweep has deleted it; an exception it raises ends the sweep."""

Progress = Callable[[int, int | None], object]
"""Called from time to time with the number of entries done, and the total or None where it is not known."""

PROGRESS_STEP = 1024
"""Entries between two calls of a `Progress`, and, where nothing is deleted, between two checks of the time budget."""


class SweepStrategy(enum.Enum):
    """How expired sessions are found."""

    EXPIRY_INDEX = "index"
    """Range-scan the expiry index up to now: the cost grows with the expired sessions, not with all of them."""

    FULL_SCAN = "full-scan"
    """Read every record, as the Rust crate does: for databases without an index."""


class SweepOptions(TypedDict, total=False):
    """The keyword arguments of `SessionStore.delete_expired`.

    Stores take them as `**options`, like the protocol: to pyright, spelled-out parameters do not match it.

    Attributes:
        now: Delete what has expired at this moment, an aware datetime; None is the store's clock.
        limit: Delete at most this many; the next sweep continues from there.
        budget: Stop after this time; the next sweep continues from there.
        on_expired: Called with each record after it was deleted.
        progress: Called from time to time with the number of entries examined.
        dry_run: Delete nothing; the report says what would have been deleted.
    """

    now: datetime | None
    limit: int | None
    budget: timedelta | None
    on_expired: OnExpired | None
    progress: Progress | None
    dry_run: bool


@attrs.frozen
class SweepReport:
    """What one sweep did.

    Attributes:
        strategy: How it searched; None for a store whose server deletes what expires.
        examined: Entries (index) or records (full scan) that it looked at.
        deleted: Expired sessions that it removed, or with `dry_run` would have removed.
        undecodable: Records whose expiry could not be decoded; they stay in the store.
        seconds: How long it took.
        complete: False if `limit` or `budget` ended it early; the next sweep continues from there and is complete when
            it reaches the end. What expired behind its starting point in the meantime is left for a later one.
    """

    strategy: SweepStrategy | None
    examined: int = 0
    deleted: int = 0
    undecodable: int = 0
    seconds: float = 0.0
    complete: bool = True

    def _repr_html_(self) -> str:
        from sled_sessions.display import html, text

        facts: dict[str, object] = {
            "strategy": "the server's own" if self.strategy is None else self.strategy.value,
            "examined": self.examined,
            "deleted": self.deleted,
            "undecodable": self.undecodable,
            "time": text.elapsed(self.seconds),
            "complete": self.complete,
        }
        return html.card("SweepReport", facts)


class Sweep:
    """A sweep in progress: counts, watches `limit` and `budget`, announces what expired, and makes the report.

    Raises:
        EncodeError, ValueError, TypeError: An option is wrong.
    """

    def __init__(
        self,
        strategy: SweepStrategy,
        clock: Clock,
        now: datetime | None = None,
        limit: int | None = None,
        budget: timedelta | None = None,
        on_expired: OnExpired | None = None,
        progress: Progress | None = None,
        dry_run: bool = False,
    ) -> None:
        if limit is not None and limit < 1:
            raise ValueError("limit must be at least 1")
        if not (budget is None or isinstance(budget, timedelta)):
            raise TypeError(f"budget must be a timedelta, not {type(budget).__name__}")
        self.strategy = strategy
        self.until = codec.to_microseconds(codec.require_aware(clock() if now is None else now, "now"))
        """What expires at or before this is deleted, in microseconds since the Unix epoch."""
        self.examined = 0
        self.deleted = 0
        self.undecodable = 0
        self.dry_run = dry_run
        self.resumes = not (limit is None and budget is None) and not dry_run
        """Whether it may be one of several that share the work, each continuing where the last one stopped."""
        self._limit = limit
        self._on_expired = on_expired
        self._progress = progress
        self._announces = not dry_run and (on_expired is not None or events.wants_expired())
        self._start = time.perf_counter()
        self._end = None if budget is None else self._start + budget.total_seconds()
        self.is_watched = not (limit is None and budget is None and progress is None)
        """Whether `is_over` needs to be called at all."""

    def count_deleted(self, key: bytes, value: bytes) -> None:
        """Count a record as deleted, and announce it to `on_expired` and the events logger."""
        self.deleted += 1
        if not self._announces:
            return
        events.expired(key)
        if self._on_expired is not None:
            try:
                record = Record.decode(value)
            except DecodeError:
                _log.warning("deleted an expired session without calling on_expired: its data could not be decoded")
            else:
                self._on_expired(record)

    def is_over(self) -> bool:
        """Report progress when due; true when `limit` or `budget` is used up.

        Called after each entry, so that every sweep examines at least one.
        """
        if self._limit is not None and self.deleted >= self._limit:
            return True
        if self._progress is not None and self.examined % PROGRESS_STEP == 0:
            self._progress(self.examined, None)
        return self._end is not None and time.perf_counter() >= self._end

    def report(self, *, complete: bool) -> SweepReport:
        """End the sweep."""
        if self._progress is not None:
            self._progress(self.examined, self.examined)
        if self.undecodable:
            _log.warning("a sweep left %d records that could not be decoded in the store", self.undecodable)
        return SweepReport(
            self.strategy,
            examined=self.examined,
            deleted=self.deleted,
            undecodable=self.undecodable,
            seconds=time.perf_counter() - self._start,
            complete=complete,
        )
