"""Durations as people type them in magics and commands."""

import re
from datetime import timedelta

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|min|h|d|)", re.ASCII)
_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "min": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}


def parse(text: str) -> timedelta:
    """Parse `500ms`, `30s`, `15m` or `15min`, `12h`, `7d`; a bare number is in seconds. ValueError for other text."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a duration; write 500ms, 30s, 15m, 12h or 7d")
    try:
        return float(match[1]) * _UNITS[match[2]]
    except OverflowError:
        raise ValueError(f"{text} is too long: durations end at {timedelta.max.days:,} days") from None
