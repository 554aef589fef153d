"""What a sweep is told and what it tells: the strategy, its limits, the report."""

import enum
import time
from collections.abc import Callable
from datetime import timedelta

import attrs

from sled_sessions.records import Record

OnExpired = Callable[[Record], object]
"""Called with the record of each expired session after the sweep has deleted it; what it raises ends the sweep."""

Progress = Callable[[int, int | None], object]
"""Called now and then with how many entries were done so far, and of how many (None: nobody has counted)."""

PROGRESS_STEP = 1024
"""Entries between two calls of a `Progress`, and, where nothing is deleted, between two looks at the time budget."""


class SweepStrategy(enum.Enum):
    """How expired sessions are found."""

    EXPIRY_INDEX = "index"
    """Range-scan the expiry index up to now: the cost is that of the expired sessions, not of all."""

    FULL_SCAN = "full-scan"
    """Read every record, as the Rust crate does: for databases that keep no index."""


@attrs.frozen
class SweepReport:
    """What one sweep did.

    Attributes:
        strategy: How it looked; None when it did not, since the store's server deletes what expires.
        examined: Entries (index) or records (full scan) that it looked at.
        deleted: Expired sessions that it removed.
        undecodable: Records whose expiry it could not read; they stay where they are.
        seconds: How long it took.
        complete: False when `limit` or `budget` ended it early; the next sweep goes on from there. That one is complete
            when it comes to the end: what has expired meanwhile before the place where it began is for a later one.
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
    """One sweep under way: it counts, watches `limit` and `budget`, and writes the report."""

    def __init__(
        self, strategy: SweepStrategy, limit: int | None, budget: timedelta | None, progress: Progress | None
    ) -> None:
        if limit is not None and limit < 1:
            raise ValueError("limit must be at least 1")
        if not (budget is None or isinstance(budget, timedelta)):
            raise TypeError(f"budget must be a timedelta, not {type(budget).__name__}")
        self.strategy = strategy
        self.examined = 0
        self.deleted = 0
        self.undecodable = 0
        self._limit = limit
        self._progress = progress
        self._start = time.perf_counter()
        self._end = None if budget is None else self._start + budget.total_seconds()
        self.is_watched = not (limit is None and budget is None and progress is None)

    def step(self) -> bool:
        """Tell `progress` when it is time to; true when `limit` or `budget` is used up.

        Asked after an entry, so that every sweep looks at one at least.
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
        return SweepReport(
            self.strategy,
            examined=self.examined,
            deleted=self.deleted,
            undecodable=self.undecodable,
            seconds=time.perf_counter() - self._start,
            complete=complete,
        )
