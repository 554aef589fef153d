"""The values a session may hold: those of JSON, which every tower-sessions store can keep.

To write one, msgspec encodes it, and `is_json(value, levels)`, which is in Rust, says whether the encoding can be
stored: msgspec refuses integers beyond 64 bits and lone surrogates, but encodes more types than JSON's, NaN, and any
depth. If not, `to_plain` converts the value, or raises with the path to what is wrong.
"""

import math
import sys
from collections.abc import Mapping
from types import GenericAlias
from typing import Annotated, Any, NoReturn, TypeAlias

import msgspec

from sled_sessions.errors import EncodeError
from sled_sessions.sled._native import is_json

__all__ = ["JSON", "MAX_DEPTH", "SHALLOW", "is_json", "to_plain"]

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"

_Finite: TypeAlias = Annotated[float, msgspec.Meta(ge=-sys.float_info.max, le=sys.float_info.max)]


def _nested(levels: int) -> Any:
    """The type of a JSON value with at most this many levels of containers; msgspec has no recursive aliases."""
    scalar: Any = None | bool | int | _Finite | str
    if levels == 0:
        return scalar
    inner = _nested(levels - 1)
    return scalar | GenericAlias(list, inner) | GenericAlias(dict, (str, inner))


SHALLOW: Any = _nested(5)
"""The type of values that msgspec checks as it decodes them, at no cost; deeper data needs a second pass."""

MAX_DEPTH = 512
"""Levels of nested containers, counting the data itself: half of what rmp-serde reads, and safe for Python's stack."""

_CURE = "convert it to text, a number, a list or a dict"
_CURES = {
    **dict.fromkeys(("bytes", "bytearray"), "store base64 text"),
    **dict.fromkeys(("datetime", "date", "time"), "store its isoformat()"),
    **dict.fromkeys(("set", "frozenset"), "store sorted(...) of it"),
    **dict.fromkeys(("Decimal", "UUID"), "store its str()"),
}


def to_plain(value: object, name: str = "data", levels: int = MAX_DEPTH) -> JSON:
    """A copy in JSON's own Python types: tuples become lists, instances of subclasses become the base type. O(n).

    Raises EncodeError if JSON cannot hold `value`, or it has more than `levels` levels; the message names the path to
    the offending part, starting with `name`, and never its content.
    """
    return _to_plain(value, name, levels, [])


def _to_plain(value: object, name: str, levels: int, steps: list[object]) -> JSON:
    """`to_plain` of a part of the value; `steps` are the keys and places that lead to it."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        if not _is_unicode(value):
            _refuse(name, steps, "text with a lone surrogate has no UTF-8 form")
        return str.__str__(value)
    if isinstance(value, int):
        if not -(2**63) <= value < 2**64:
            _refuse(name, steps, "an integer beyond 64 bits; store it as text")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            _refuse(name, steps, "JSON has no NaN or infinity; store None instead")
        return float(value)
    if not isinstance(value, (dict, list, tuple)) and not isinstance(value, Mapping):
        kind = type(value).__name__
        _refuse(name, steps, f"JSON has no {kind}; {_CURES.get(kind, _CURE)}")
    if len(steps) == levels:
        path = _path(name, steps)
        raise EncodeError(f"{path[:60]}…: more than {MAX_DEPTH} levels deep, or a container inside itself")
    steps.append(None)
    plain: JSON
    if isinstance(value, (list, tuple)):
        plain = []
        for place, each in enumerate(value):  # not a comprehension: those use a stack frame per level
            steps[-1] = place
            plain.append(_to_plain(each, name, levels, steps))
    else:
        plain = {}
        for key, each in value.items():
            if not isinstance(key, str):
                _refuse(name, steps[:-1], f"a key is {type(key).__name__}, not str; JSON's keys are text")
            steps[-1] = key
            plain_value = _to_plain(each, name, levels, steps)
            if not _is_unicode(key):
                _refuse(name, steps[:-1], "a key: text with a lone surrogate has no UTF-8 form")
            plain[str.__str__(key)] = plain_value
    steps.pop()
    return plain


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _path(name: str, steps: list[object]) -> str:
    return name + "".join(f"[{step!r}]" for step in steps)


def _refuse(name: str, steps: list[object], why: str) -> NoReturn:
    raise EncodeError(f"{_path(name, steps)}: {why}")
