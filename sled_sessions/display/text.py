"""Values as plain text for people, the same in notebooks and on terminals."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any

from sled_sessions.display.masking import masked

PAGE = 10  # rows that an object shows of a long list
COUNT_UP_TO = 1000  # where counting stops: sled keeps no count, and a repr must not read a whole database
LONGEST_VALUE = 60
_LONGEST_DATA = 120
MOST_KEYS = 30
_UNITS = (("years", 365.25 * 86400), ("days", 86400), ("h", 3600), ("min", 60))
_TIMES = (("s", 1), ("ms", 1e-3), ("µs", 1e-6))
_SIZES = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("B", 1))


class Figure(str):
    """A number with its unit, such as `1.5 ms`. Tables right-align columns of these."""

    __slots__ = ()


def numeric(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> list[bool]:
    """For each column, whether all its values are numbers, ignoring empty cells."""
    cells = [[row[place] for row in rows if row[place] not in (None, "")] for place in range(len(columns))]
    return [bool(column) and all(map(_is_number, column)) for column in cells]


def plain(value: object) -> str:
    """A value as text: `-` for None, `yes` and `no` for bools, integers with thousands separators."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)


def data_text(values: Mapping[str, Any], *, reveal: bool = False) -> str:
    """A session's data in one line, with secrets masked and long values shortened unless `reveal`."""
    if reveal:
        return ", ".join(f"{key}: {value_text(value, reveal=True)}" for key, value in values.items())
    line = ", ".join(f"{key}: {value_text(value)}" for key, value in islice(masked(dict(values)).items(), MOST_KEYS))
    return shortened(line, _LONGEST_DATA)


def value_text(value: object, *, reveal: bool = False) -> str:
    """A JSON value in one line: strings without quotes, and the type's name in place of values JSON cannot hold."""
    line = value if isinstance(value, str) else _json(value)
    return line if reveal else shortened(line, LONGEST_VALUE)


def shortened(line: str, longest: int) -> str:
    """A line cut to `longest` characters, the last an ellipsis."""
    return line if len(line) <= longest else line[: longest - 1] + "…"


def counted(items: Iterable[object]) -> str:
    """The number of items, or `more than 1,000` without reading on once there are more than `COUNT_UP_TO`."""
    number = sum(1 for _ in islice(items, COUNT_UP_TO + 1))
    return f"more than {COUNT_UP_TO:,}" if number > COUNT_UP_TO else f"{number:,}"


def plural(number: int, noun: str) -> str:
    """A number with its noun: `1 session`, `2,000 sessions`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def masked_id(id: object) -> str:
    """The first characters of a session id. The whole id is never shown, since it gives access to the session."""
    return f"{str(id)[:4]}…"


def moment(at: datetime, now: datetime | None = None) -> str:
    """A moment in UTC to the second, and if `now` is given, how far from it: `2030-01-01 12:00:00 UTC (in 2 h)`."""
    try:
        shown = f"{at.astimezone(UTC).replace(tzinfo=None).isoformat(sep=' ', timespec='seconds')} UTC"
    except OverflowError:  # its UTC year would be 0 or 10000: keep its own offset
        shown = at.isoformat(sep=" ", timespec="seconds")
    if now is None:
        return shown
    if abs(at - now) < timedelta(seconds=1):
        return f"{shown} (now)"
    return f"{shown} ({duration(now - at)} ago)" if at < now else f"{shown} (in {duration(at - now)})"


def duration(span: timedelta) -> str:
    """A span of time in the largest unit of which it has at least two."""
    seconds = span.total_seconds()
    for unit, length in _UNITS:
        if seconds >= 2 * length:
            return f"{seconds // length:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 1 else elapsed(seconds)


def elapsed(seconds: float) -> Figure:
    """A measured time to three significant digits."""
    return _in_unit(seconds, _TIMES)


def size(byte_count: int) -> Figure:
    """A number of bytes to three significant digits."""
    return _in_unit(byte_count, _SIZES)


def exactly(span: timedelta) -> str:
    """A span of time without rounding, in the largest unit of which it is a whole multiple, at least two."""
    for unit, seconds in _UNITS[1:]:  # not years: their length varies
        length = timedelta(seconds=seconds)
        if span >= 2 * length and not span % length:
            return f"{span // length} {unit}"
    microseconds = span // timedelta.resolution
    for unit, parts in (("s", 10**6), ("ms", 10**3)):
        if microseconds >= parts:
            return f"{Decimal(microseconds) / parts} {unit}"
    return f"{microseconds} µs"


def _in_unit(value: float, units: Sequence[tuple[str, float]]) -> Figure:
    """A number rounded to three significant digits, in the largest unit that does not exceed it, or else the last."""
    rounded = float(f"{value:.3g}")
    unit, length = next((each for each in units if rounded >= each[1]), units[-1])
    return Figure(f"{rounded / length:,.12g} {unit}")


def _json(value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, default=_type_of)
    except (TypeError, ValueError, RecursionError):  # a key is not text, or a container holds itself
        return _type_of(value)


def _type_of(value: object) -> str:
    return f"<{type(value).__name__}>"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | Figure) and not isinstance(value, bool)
