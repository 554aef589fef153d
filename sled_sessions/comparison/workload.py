"""The sessions that are stored. Each is computed from its number, so nothing has to be remembered about it."""

import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any

import attrs

from sled_sessions import Id, Record

FIRST_EXPIRY = datetime(2100, 1, 1, 0, 0, 0, 500_000, UTC)
"""When the first session expires: far in the future, so that a database can be kept and measured again."""

LIFETIME = timedelta(days=14)
"""The time over which the sessions expire, evenly spread, from `FIRST_EXPIRY` on."""

_PAD = "x" * 67  # makes a record 250 bytes long
_FIRST_VERSION = 1 << 16  # every version from here on is encoded in the same number of bytes


@attrs.frozen
class Workload:
    """Sessions of 250 bytes with scattered ids and evenly spread expiries, the same in every run.

    A session with a smaller number expires sooner; its id is independent of that. The database has those whose
    number is below `sessions`.
    """

    sessions: int
    _random: random.Random = attrs.field(factory=lambda: random.Random(1), repr=False, kw_only=True)  # noqa: S311 - no secret

    def id(self, number: int) -> Id:
        """A session's id."""
        return Id(blake2b(number.to_bytes(8), digest_size=16).digest())

    def expiry(self, number: int) -> datetime:
        """When a session expires."""
        return FIRST_EXPIRY + LIFETIME * number / max(self.sessions, 1)

    def data(self, version: int = 0) -> dict[str, Any]:
        """The data of a small web shop's session. Versions differ, because sled skips a write that changes nothing."""
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
        """A session as a record whose expiry is moved by `delay`."""
        return Record(self.id(number), self.data(version), self.expiry(number) + delay)

    def random_numbers(self, count: int) -> list[int]:
        """Numbers of different sessions in the database, in random order; fewer than `count` if it has fewer."""
        return self._random.sample(range(self.sessions), min(count, self.sessions))

    def new_numbers(self, count: int, turn: int) -> Iterable[int]:
        """Numbers of sessions that are not in the database, different ones in each turn."""
        return range(self.sessions + turn * count, self.sessions + (turn + 1) * count)
