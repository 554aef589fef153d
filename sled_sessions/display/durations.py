"""Spans of time as people write them, on a magic's line and on the command line."""

import re
from datetime import timedelta

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|min|h|d|)")
_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "min": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}


def parse(written: str) -> timedelta:
    """`500ms`, `30s`, `15m` or `15min`, `12h`, `7d`; a bare number counts seconds.

    Raises:
        ValueError: It is none of these.
    """
    match = _DURATION.fullmatch(written)
    if match is None:
        raise ValueError(f"{written!r} is not a duration; write 500ms, 30s, 15m, 12h or 7d")
    try:
        return float(match[1]) * _UNITS[match[2]]
    except OverflowError:
        raise ValueError(f"{written} is longer than the calendar") from None
