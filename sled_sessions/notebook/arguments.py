"""What people write on a magic's line, as values."""

import re
from datetime import datetime, timedelta

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d)")
_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "min": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}


def duration(written: str) -> timedelta:
    """`500ms`, `30s`, `5min`, `2h`, `7d`.

    Raises:
        ValueError: It is none of these.
    """
    match = _DURATION.fullmatch(written)
    if match is None:
        msg = f"{written!r} is no duration; write one like 500ms, 30s, 5min, 2h or 7d"
        raise ValueError(msg)
    try:
        return float(match[1]) * _UNITS[match[2]]
    except OverflowError:
        msg = f"{written} is longer than the calendar"
        raise ValueError(msg) from None


def moment(written: str, now: datetime) -> datetime:
    """`2030-01-31`, `2030-01-31T12:00:00Z`, or so far from now: `+2h`, `-7d`. UTC is meant where no zone is written.

    Raises:
        ValueError: It is none of these.
    """
    if written[:1] in ("+", "-"):
        ahead = duration(written[1:])
        try:
            return now + ahead if written[0] == "+" else now - ahead
        except OverflowError:
            msg = f"{written} lies beyond the calendar"
            raise ValueError(msg) from None
    try:
        at = datetime.fromisoformat(written)
    except ValueError:
        msg = f"{written!r} is no moment; write one like 2030-01-31T12:00 (UTC), +2h or -7d"
        raise ValueError(msg) from None
    return at if at.tzinfo is not None else at.replace(tzinfo=now.tzinfo)
