"""The clock of a store: Python's, so that a test can move it."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from sled_sessions.records.codec import require_aware
from sled_sessions.stores.wrapped import attribute_of

Clock = Callable[[], datetime]
"""Returns the current time as an aware datetime."""

utc_now: Clock = partial(datetime.now, UTC)


def checked(clock: Clock) -> Clock:
    """Return `clock`; EncodeError if it does not return an aware datetime."""
    require_aware(clock(), "what the clock returns")
    return clock


def clock_of(store: object, given: Clock | None = None) -> Clock:
    """The given clock, or else that of the store or of the store it wraps, or else `utc_now`."""
    if given is not None:
        return checked(given)
    return attribute_of(store, "clock") or utc_now
