"""Moments as people write them on a magic's line."""

from datetime import UTC, datetime

from sled_sessions.display import durations


def moment(written: str, now: datetime) -> datetime:
    """`2030-01-31`, `2030-01-31T12:00:00Z`, or so far from now: `+2h`, `-7d`. UTC is meant where no zone is written.

    Raises:
        ValueError: It is none of these.
    """
    if written[:1] in ("+", "-"):
        ahead = durations.parse(written[1:])
        try:
            return now + ahead if written[0] == "+" else now - ahead
        except OverflowError:
            raise ValueError(f"{written} lies beyond the calendar") from None
    try:
        at = datetime.fromisoformat(written)
    except ValueError:
        raise ValueError(f"{written!r} is not a moment; write 2030-01-31T12:00 (UTC), +2h or -7d") from None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)
