"""The sessions of a benchmark: those of the comparison, with a part set aside for sweeps."""

from bisect import bisect_right
from collections.abc import Iterator
from datetime import datetime, timedelta

import attrs

from sled_sessions.comparison import workload
from sled_sessions.comparison.workload import FIRST_EXPIRY, LIFETIME

_BATCH = 1000


@attrs.frozen
class Workload(workload.Workload):
    """The workload whose first hundredth to expire only sweeps touch.

    Attributes:
        due: The number of sessions in that hundredth; they have the smallest numbers.
    """

    due: int = attrs.field(init=False)

    @due.default
    def _count_due(self) -> int:
        return self.due_by(self.due_at(0.01))

    def due_at(self, share: float) -> datetime:
        """The moment at which this share has expired: the end of a one-second index step."""
        return (FIRST_EXPIRY + LIFETIME * share).replace(microsecond=0) - timedelta(microseconds=1)

    def due_by(self, now: datetime) -> int:
        """The number of sessions that have expired at `now`; they have the smallest numbers."""
        return bisect_right(range(self.sessions), now, key=self.expiry)

    def batches(self) -> Iterator[range]:
        """The numbers of all sessions in the database, a thousand at a time."""
        for start in range(0, self.sessions, _BATCH):
            yield range(start, min(start + _BATCH, self.sessions))

    def random_numbers(self, count: int, *, odd: bool = False) -> list[int]:
        """Even or odd numbers of different sessions in the database, in random order, without the due ones."""
        numbers = range((self.due + 1) // 2 * 2 + odd, self.sessions, 2)
        return self._random.sample(numbers, min(count, len(numbers)))
