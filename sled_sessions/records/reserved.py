"""The one key of a session's data that belongs to this package: a map that no app sees, and that Rust reads like any.

| in the map | what it is |
|---|---|
| `deadline` | the moment of `Expiry.at_most`, in microseconds since the Unix epoch |
| `expiry` | the session's own policy: `idle`, `at_most` and `deadline`, durations and moment in microseconds |
"""

from datetime import timedelta
from typing import Any, Final

import msgspec

from sled_sessions.errors import EncodeError
from sled_sessions.records.codec import from_microseconds, to_microseconds
from sled_sessions.records.expiry import Expiry

RESERVED: Final = "_sled_sessions"

_MICROSECOND: Final = timedelta(microseconds=1)
_LONGEST: Final = 2**63 - 1  # what a record can hold: 292,000 years


class _Policy(msgspec.Struct, omit_defaults=True):
    idle: int | None = None
    at_most: int | None = None
    deadline: int | None = None


class _Map(msgspec.Struct, omit_defaults=True):
    deadline: int | None = None
    expiry: _Policy | None = None


def read_reserved(value: object) -> tuple[int | None, Expiry | None]:
    """The absolute deadline and the own policy in a reserved map; None for what is missing or makes no sense."""
    try:
        kept = msgspec.convert(value, _Map)
        return kept.deadline, None if kept.expiry is None else _to_expiry(kept.expiry)
    except (msgspec.ValidationError, EncodeError, OverflowError):
        return None, None


def make_reserved(deadline: int | None, expiry: Expiry | None) -> dict[str, Any] | None:
    """The map with this deadline and own policy; None if there is neither."""
    policy = None
    if expiry is not None:
        policy = _Policy(
            idle=_in_microseconds(expiry.idle),
            at_most=_in_microseconds(expiry.at_most),
            deadline=None if expiry.deadline is None else to_microseconds(expiry.deadline),
        )
    return msgspec.to_builtins(_Map(deadline=deadline, expiry=policy)) or None


def _to_expiry(policy: _Policy) -> Expiry:
    if policy.deadline is not None:
        return Expiry.at(from_microseconds(policy.deadline))
    if policy.idle is None:
        return Expiry.on_session_end()
    at_most = None if policy.at_most is None else policy.at_most * _MICROSECOND
    return Expiry.on_inactivity(policy.idle * _MICROSECOND, at_most=at_most)


def _in_microseconds(duration: timedelta | None) -> int | None:
    return None if duration is None else min(duration // _MICROSECOND, _LONGEST)
