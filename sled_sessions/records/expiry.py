"""When a session expires: tower-sessions' three policies, and an absolute limit on top of the idle one."""

from datetime import UTC, datetime, timedelta
from typing import Self

import attrs

from sled_sessions.errors import EncodeError
from sled_sessions.records.codec import require_aware

SESSION_END_LIFETIME = timedelta(weeks=2)
"""How long the server keeps a session whose cookie ends with the browser; tower-sessions' default."""


@attrs.frozen
class Expiry:
    """An expiry policy. Make one with `on_session_end`, `on_inactivity` or `at`.

    Attributes:
        idle: How long the session lives after it was last saved.
        deadline: The moment it ends, whatever happens.
        at_most: How long it lives after it was created, however active it is.
        lifetime: How long a session lives after a save, if there is no `deadline`.
        ends_with_browser: Whether the cookie carries no `Max-Age`.
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
        """The session expires when it was not saved for `idle`, and in any case `at_most` after its creation.

        Raises:
            EncodeError: A duration is no positive timedelta.
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
        return cls(deadline=require_aware(deadline, "deadline"))

    def expiry_date(self, now: datetime) -> datetime:
        """When a session that is saved at `now` expires; `at_most` is not in it, since that counts from creation."""
        if self.deadline is not None:
            return self.deadline
        try:
            return now + self.lifetime
        except OverflowError:
            return datetime.max.replace(tzinfo=UTC)


SESSION_END = Expiry.on_session_end()
"""The policy that is meant where none is given."""


def policy_of(expiry: Expiry | None) -> Expiry:
    """Return `expiry`, or `SESSION_END` for None.

    Raises:
        TypeError: It is no policy.
    """
    if expiry is None:
        return SESSION_END
    if not isinstance(expiry, Expiry):
        raise TypeError(
            f"expiry must be an Expiry, such as Expiry.on_inactivity(timedelta(hours=1)), not {type(expiry).__name__}"
        )
    return expiry
