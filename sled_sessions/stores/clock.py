"""The clock of a store: Python's, so that a test can move it."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from sled_sessions.records.codec import require_aware
from sled_sessions.stores.wrapped import attribute_of

Clock = Callable[[], datetime]
"""Returns the current time as an aware datetime."""

utc_now: Clock = partial(datetime.now, UTC)


class _InUtc:
    """A clock that shows the time of another one in UTC: in a local zone, an hour's sum may be off by an hour."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __call__(self) -> datetime:
        return require_aware(self._clock(), "what the clock returns").astimezone(UTC)

    def __repr__(self) -> str:
        return repr(self._clock)


def checked(clock: Clock) -> Clock:
    """The same clock, in UTC; EncodeError if it does not return an aware datetime."""
    if clock is utc_now or isinstance(clock, _InUtc):
        return clock
    in_utc = _InUtc(clock)
    in_utc()
    return in_utc


def clock_of(store: object, given: Clock | None = None) -> Clock:
    """The given clock, or else that of the store or of the store it wraps, or else `utc_now`; in UTC."""
    return checked(given or attribute_of(store, "clock") or utc_now)
