"""When a session expires: tower-sessions' three policies, and an absolute limit for active sessions."""

from datetime import UTC, datetime, timedelta
from typing import Self

import attrs

from sled_sessions.errors import EncodeError
from sled_sessions.records.codec import require_aware

SESSION_END_LIFETIME = timedelta(weeks=2)
"""How long after its last save a session whose cookie ends with the browser is kept; tower-sessions' default."""


@attrs.frozen
class Expiry:
    """An expiry policy. Make one with `on_session_end`, `on_inactivity` or `at`.

    Attributes:
        idle: How long the session lives after its last save.
        deadline: The moment the session expires, however active it is.
        at_most: How long the session lives after its creation, however active it is.
        lifetime: How long the session lives after a save, unless there is a `deadline`.
        ends_with_browser: Whether the cookie has no `Max-Age`.
    """

    idle: timedelta | None = None
    deadline: datetime | None = None
    at_most: timedelta | None = None
    lifetime: timedelta = attrs.field(init=False, eq=False, repr=False)
    ends_with_browser: bool = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "lifetime", SESSION_END_LIFETIME if self.idle is None else self.idle)
        object.__setattr__(self, "ends_with_browser", self.idle is None and self.deadline is None)

    @classmethod
    def on_session_end(cls) -> Self:
        """The cookie ends with the browser (no `Max-Age`); the server keeps the session for two weeks after a save."""
        return cls()

    @classmethod
    def on_inactivity(cls, idle: timedelta, *, at_most: timedelta | None = None) -> Self:
        """The session expires `idle` after its last save, and `at_most` after its creation however active it is.

        Raises:
            EncodeError: A duration is not a positive timedelta.
        """
        for name, duration in (("idle", idle), ("at_most", idle if at_most is None else at_most)):
            if not isinstance(duration, timedelta) or duration <= timedelta(0):
                raise EncodeError(f"{name} must be a timedelta longer than zero")
        return cls(idle=idle, at_most=at_most)

    @classmethod
    def at(cls, deadline: datetime) -> Self:
        """The session expires at this moment, an aware datetime.

        Raises:
            EncodeError: `deadline` is naive.
        """
        require_aware(deadline, "deadline")
        try:  # in a local zone, a moment in a repeated hour is unequal to itself in another zone
            return cls(deadline=deadline.astimezone(UTC))
        except OverflowError:
            return cls(deadline=deadline)

    def expiry_date(self, now: datetime) -> datetime:
        """When a session saved at `now` expires. Ignores `at_most`, which counts from the session's creation."""
        if self.deadline is not None:
            return self.deadline
        try:
            return now + self.lifetime
        except OverflowError:
            return datetime.max.replace(tzinfo=UTC)


SESSION_END = Expiry.on_session_end()
"""The default policy."""


def policy_of(expiry: Expiry | None) -> Expiry:
    """Return `expiry`, or `SESSION_END` for None; raise TypeError if it is not an Expiry."""
    if expiry is None:
        return SESSION_END
    if not isinstance(expiry, Expiry):
        raise TypeError(
            f"expiry must be an Expiry, such as Expiry.on_inactivity(timedelta(hours=1)), not {type(expiry).__name__}"
        )
    return expiry
