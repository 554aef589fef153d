"""How long a session lives: the middleware's policy, the session's own one, and the limit that no activity extends."""

from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from sled_sessions.records import Expiry
from sled_sessions.records.codec import from_microseconds, to_microseconds
from sled_sessions.records.reserved import make_reserved, read_reserved

_MICROSECOND: Final = timedelta(microseconds=1)


class NewPolicy(NamedTuple):
    """The own policy that a session was given since its record was read; None goes back to the middleware's."""

    own: Expiry | None


def lifetime(
    default: Expiry, new: NewPolicy | None, reserved: object, now: datetime
) -> tuple[datetime, dict[str, Any] | None]:
    """When a session that is saved now expires, and what its record keeps about that under the reserved key.

    A policy's `at_most` counts from the save that begins the session, or that gives it a different policy. It may move
    earlier when the middleware's policy changes, and never later.

    Args:
        default: The middleware's policy.
        new: The own policy to store; None keeps the stored one.
        reserved: What the record has under the reserved key; None for nothing, or a new session.
        now: The time of the save.
    """
    deadline, own = read_reserved(reserved) if reserved is not None else (None, None)
    before = own or default
    if new is not None:
        own = new.own
    policy = own or default
    if policy != before:
        deadline = None
    if policy.at_most is not None:
        latest = to_microseconds(now) + policy.at_most // _MICROSECOND
        deadline = latest if deadline is None else min(latest, deadline)
    expiry_date = policy.expiry_date(now)
    if deadline is not None:
        limit = from_microseconds(deadline)
        expiry_date, deadline = min(expiry_date, limit), to_microseconds(limit)
    return expiry_date, make_reserved(deadline, own)
