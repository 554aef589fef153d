"""How values are written for people, as plain text: the same in a notebook and on a terminal."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any

from sled_sessions.display.masking import masked

PAGE = 10
"""How many rows an object shows of what may be very many."""

COUNT_UP_TO = 1000
"""How far an object counts: sled keeps no count, and a repr must not read a whole database."""

LONGEST_VALUE = 60
_LONGEST_DATA = 120
MOST_KEYS = 30
_UNITS = (("years", 365.25 * 86400), ("days", 86400), ("h", 3600), ("min", 60))
_TIMES = (("s", 1), ("ms", 1e-3), ("µs", 1e-6))
_SIZES = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("B", 1))

# Lone surrogates, which no message to a browser can hold; but for those that stand for a byte of a file's name.
_SURROGATE = re.compile("[\ud800-\udc7f\udd00-\udfff]")


class Figure(str):
    """A number as text, such as `1.5 ms`: a column of them is aligned to the right."""

    __slots__ = ()


def numeric(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> list[bool]:
    """Which columns hold numbers and nothing else, gaps aside."""
    cells = [[row[place] for row in rows if row[place] not in (None, "")] for place in range(len(columns))]
    return [bool(column) and all(map(_is_number, column)) for column in cells]


def plain(value: object) -> str:
    """A value as text, the same in HTML and on a terminal."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return _SURROGATE.sub(lambda found: rf"\u{ord(found[0]):04x}", str(value))


def data_text(values: Mapping[str, Any], *, reveal: bool = False) -> str:
    """A session's data in one line."""
    if reveal:
        return ", ".join(f"{key}: {value_text(value, reveal=True)}" for key, value in values.items())
    line = ", ".join(f"{key}: {value_text(value)}" for key, value in islice(masked(dict(values)).items(), MOST_KEYS))
    return shortened(line, _LONGEST_DATA)


def value_text(value: object, *, reveal: bool = False) -> str:
    """A JSON value in one line; text stands without its quotation marks, and the type for what JSON cannot hold."""
    line = value if isinstance(value, str) else _json(value)
    return line if reveal else shortened(line, LONGEST_VALUE)


def shortened(line: str, longest: int) -> str:
    """A line with an ellipsis for what is too much."""
    return line if len(line) <= longest else line[: longest - 1] + "…"


def counted(items: Iterable[object]) -> str:
    """How many there are, or that there are more than `COUNT_UP_TO`; no more than that are looked at."""
    number = sum(1 for _ in islice(items, COUNT_UP_TO + 1))
    return f"more than {COUNT_UP_TO:,}" if number > COUNT_UP_TO else f"{number:,}"


def plural(number: int, noun: str) -> str:
    """So many of it: `1 session`, `2,000 sessions`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def masked_id(id: object) -> str:
    """The first characters of a session's id, as its repr has them: whoever knows all of it holds the session."""
    return f"{str(id)[:4]}…"


def moment(at: datetime, now: datetime | None = None) -> str:
    """A moment in UTC to the second, or in its own offset where UTC has no such year; and how far from now it is."""
    try:
        shown = f"{at.astimezone(UTC).replace(tzinfo=None).isoformat(sep=' ', timespec='seconds')} UTC"
    except OverflowError:  # in UTC it lies before the year 1 or after 9999
        shown = at.isoformat(sep=" ", timespec="seconds")
    if now is None:
        return shown
    if abs(at - now) < timedelta(seconds=1):
        return f"{shown} (now)"
    return f"{shown} ({duration(now - at)} ago)" if at < now else f"{shown} (in {duration(at - now)})"


def duration(span: timedelta) -> str:
    """A span of time in its largest unit that has at least two of it."""
    seconds = span.total_seconds()
    for unit, length in _UNITS:
        if seconds >= 2 * length:
            return f"{seconds // length:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 1 else elapsed(seconds)


def elapsed(seconds: float) -> Figure:
    """A measured time to three digits."""
    return _in_unit(seconds, _TIMES)


def size(octets: int) -> Figure:
    """A number of bytes to three digits."""
    return _in_unit(octets, _SIZES)


def exactly(span: timedelta) -> str:
    """A span of time that is not rounded, in the largest unit that has at least two of it and a whole number."""
    for unit, seconds in _UNITS[1:]:  # no calendar has years of one length
        length = timedelta(seconds=seconds)
        if span >= 2 * length and not span % length:
            return f"{span // length} {unit}"
    microseconds = span // timedelta.resolution
    for unit, parts in (("s", 10**6), ("ms", 10**3)):
        if microseconds >= parts:
            return f"{Decimal(microseconds) / parts} {unit}"
    return f"{microseconds} µs"


def _in_unit(value: float, units: Sequence[tuple[str, float]]) -> Figure:
    """A number to three digits, in the largest of the units that it has, once it is rounded, or the last one."""
    rounded = float(f"{value:.3g}")
    unit, length = next((each for each in units if rounded >= each[1]), units[-1])
    return Figure(f"{rounded / length:,.12g} {unit}")


def _json(value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, default=_type_of)
    except (TypeError, ValueError, RecursionError):  # by its keys, or as it holds itself
        return _type_of(value)


def _type_of(value: object) -> str:
    return f"<{type(value).__name__}>"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | Figure) and not isinstance(value, bool)
