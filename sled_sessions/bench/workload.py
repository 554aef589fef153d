"""What is stored and asked for: sessions that are all made from their number, so that nothing has to be remembered."""

import random
import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any

import attrs

from sled_sessions import Id, Record

FIRST_EXPIRY = datetime(2100, 1, 1, 0, 0, 0, 500_000, UTC)
"""When the first session expires: far away, so that a database can be kept and measured again."""

LIFETIME = timedelta(days=14)
"""The sessions expire evenly over this time from the first one on."""

_BATCH = 1000
_PAD = "x" * 67  # makes a record 250 bytes long
_FIRST_VERSION = 1 << 16  # from here on an integer is as long as any other that a run can reach
_NUMBER = struct.Struct(">Q")


@attrs.frozen
class Workload:
    """So many sessions of 250 bytes, whose ids are scattered and whose expiries are evenly spread.

    Session `number` is the same in every run; the smaller its number, the sooner it expires, whatever its id.

    Attributes:
        sessions: How many are in the database.
        due: How many are the first hundredth to expire, which everything but sweeps leaves alone.
    """

    sessions: int
    due: int = attrs.field(init=False)
    _random: random.Random = attrs.field(factory=lambda: random.Random(1), repr=False)  # noqa: S311 - no secret

    @due.default
    def _count_due(self) -> int:
        return self.due_by(self.due_at(0.01))

    def due_at(self, share: float) -> datetime:
        """The moment at which this share has expired. An index step ends with it, so no live session is near."""
        return (FIRST_EXPIRY + LIFETIME * share).replace(microsecond=0) - timedelta(microseconds=1)

    def due_by(self, now: datetime) -> int:
        """How many sessions have expired then; they are those with the first numbers."""
        return bisect_right(range(self.sessions), now, key=self.expiry)

    def key(self, number: int) -> bytes:
        """The id's bytes, as random as any."""
        return blake2b(_NUMBER.pack(number), digest_size=16).digest()

    def id(self, number: int) -> Id:
        """The session's id."""
        return Id(self.key(number))

    def expiry(self, number: int) -> datetime:
        """When it expires."""
        return FIRST_EXPIRY + LIFETIME * number / max(self.sessions, 1)

    def data(self, version: int = 0) -> dict[str, Any]:
        """What a small web shop keeps in a session. Each version has other bytes: sled skips a write of the same."""
        return {
            "user_id": 4711,
            "csrf_token": "b2c7e1f09a6d4f3e8c5b7a1d2e3f4a5b",
            "locale": "en-GB",
            "theme": "dark",
            "cart": [{"item": 1001, "quantity": 2}, {"item": 2002, "quantity": 1}],
            "visits": _FIRST_VERSION + version,
            "referrer": _PAD,
        }

    def record(self, number: int, version: int = 0, delay: timedelta = timedelta(0)) -> Record:
        """The session as a record, with its expiry moved on by `delay`."""
        return Record(self.id(number), self.data(version), self.expiry(number) + delay)

    def batches(self) -> Iterator[range]:
        """The numbers of all sessions in the database, a thousand at a time."""
        for start in range(0, self.sessions, _BATCH):
            yield range(start, min(start + _BATCH, self.sessions))

    def random_numbers(self, count: int, *, odd: bool = False) -> list[int]:
        """Even or odd numbers of different sessions in the database, in random order, without the due ones."""
        numbers = range((self.due + 1) // 2 * 2 + odd, self.sessions, 2)
        return self._random.sample(numbers, min(count, len(numbers)))

    def new_numbers(self, count: int, turn: int) -> Iterable[int]:
        """Numbers of sessions that are not in the database, others in each turn."""
        return range(self.sessions + turn * count, self.sessions + (turn + 1) * count)
