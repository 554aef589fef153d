"""A day of visitors in a few seconds: a real store, real sweeps, and a clock that is moved by hand."""

import math
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import attrs

from sled_sessions.display.text import plural
from sled_sessions.records import Id, Record, codec
from sled_sessions.stores.clock import Clock
from sled_sessions.stores.memory import MemoryStore
from sled_sessions.stores.sled import SledStore
from sled_sessions.stores.sled.indexed_tree import expiry_of
from sled_sessions.stores.sweep import SweepReport

MIDNIGHT = datetime(2030, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)

_BUSIEST_HOUR = 14
_REQUESTS_OF_A_VISIT = 5
_BETWEEN_REQUESTS = timedelta(minutes=4)


@attrs.frozen
class Moment:
    """What the store held at one moment.

    Attributes:
        at: When.
        alive: Sessions that had not expired.
        due: Sessions that had expired and were still stored.
        deleted: Sessions that sweeps had deleted since midnight.
    """

    at: datetime
    alive: int
    due: int
    deleted: int


@attrs.frozen(repr=False)
class Day:
    """What happened on a simulated day; `plot_day` draws it.

    Attributes:
        visits: How many visitors came.
        requests: How many requests they made; each of them saved a session.
        moments: What the store held, every few minutes, and before and after each sweep.
        sweeps: When each sweep ran, and its report.
    """

    visits: int
    requests: int
    moments: tuple[Moment, ...]
    sweeps: tuple[tuple[datetime, SweepReport], ...]

    @property
    def deleted(self) -> int:
        """How many sessions the sweeps deleted."""
        return sum(report.deleted for _, report in self.sweeps)

    def __repr__(self) -> str:
        return (
            f"Day({plural(self.visits, 'visit')}, {plural(self.requests, 'request')}, "
            f"{plural(len(self.sweeps), 'sweep')} that deleted {plural(self.deleted, 'session')})"
        )


def simulate_day(
    make_store: Callable[[Clock], SledStore | MemoryStore],
    *,
    visits: int = 2000,
    idle: timedelta = timedelta(minutes=30),
    sweep_every: timedelta = timedelta(hours=1),
    look_every: timedelta = timedelta(minutes=5),
    seed: int = 1,
) -> Day:
    """Let visitors come to a store for a day: few at night, most in the early afternoon.

    A visit is some requests a few minutes apart. Each saves the session, and so moves its expiry on. Between the
    requests the store is swept and looked at. The same arguments give the same day.

    Args:
        make_store: Makes an empty store on the clock that it is given.
        visits: How many visitors come.
        idle: How long a session lives after a request.
        sweep_every: The time between two sweeps.
        look_every: The time between two looks at the store.
        seed: Of the random numbers.

    Raises:
        ValueError: `sweep_every` or `look_every` is no time at all.
    """
    if min(sweep_every, look_every) <= timedelta(0):
        raise ValueError("sweep_every and look_every must be longer than no time")
    now = MIDNIGHT
    store = make_store(lambda: now)
    moments: list[Moment] = []
    sweeps: list[tuple[datetime, SweepReport]] = []

    def request(id: Id) -> None:
        store.save(Record(id, {"seen": now.isoformat()}, now + idle))

    def sweep() -> None:
        look()
        sweeps.append((now, store.delete_expired()))
        look()

    def look() -> None:
        due = sum(is_due(store, at, id, now) for at, id in store.expiring(None, now + timedelta.resolution))
        deleted = sum(report.deleted for _, report in sweeps)
        moments.append(Moment(at=now, alive=store.count() - due, due=due, deleted=deleted))

    requests = list(_requests(random.Random(seed), visits))  # noqa: S311 - visitors, not secrets
    steps: list[tuple[datetime, Callable[[], None]]] = [(at, lambda id=id: request(id)) for at, id in requests]  # type: ignore[misc]
    steps += ((at, sweep) for at in _every(sweep_every))
    steps += ((at, look) for at in _every(look_every))
    for at, step in sorted(steps, key=lambda step: step[0]):
        now = at
        step()
    return Day(visits=visits, requests=len(requests), moments=tuple(moments), sweeps=tuple(sweeps))


def is_due(store: SledStore | MemoryStore, at: datetime, id: Id, now: datetime) -> bool:
    """Whether a session has expired, as a sweep would see it.

    Args:
        store: Where it lies.
        at: When it expires, as the store's `expiring` has it.
        id: Its id.
        now: The moment that counts.
    """
    if isinstance(store, MemoryStore) or store.resolution is None or not timedelta(0) <= now - at < store.resolution:
        return at <= now
    # `at` is rounded down to the step that is running: only the record knows whether its moment has come.
    value = store.tree.get(id.key)
    expiry = None if value is None else expiry_of(id.key, value)
    return expiry is not None and expiry <= codec.to_microseconds(now)


def _requests(chance: random.Random, visits: int) -> Iterator[tuple[datetime, Id]]:
    """When each visitor makes requests, until midnight."""
    for _ in range(visits):
        id = Id(chance.randbytes(16))
        at = MIDNIGHT + _arrival(chance)
        while at < MIDNIGHT + DAY:
            yield at, id
            if chance.random() < 1 / _REQUESTS_OF_A_VISIT:
                break
            at += _BETWEEN_REQUESTS * chance.expovariate(1)


def _arrival(chance: random.Random) -> timedelta:
    """A time of day: as likely as its place on a wave with its top at the busiest hour and a tenth of it at night."""
    while True:
        hour = 24 * chance.random()
        if chance.random() < 0.55 + 0.45 * math.cos((hour - _BUSIEST_HOUR) / 24 * math.tau):
            return timedelta(hours=hour)


def _every(period: timedelta) -> Iterator[datetime]:
    """The moments of the day that lie a period apart."""
    return (MIDNIGHT + period * number for number in range(1, DAY // period + 1))
