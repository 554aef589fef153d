"""Which Python values a session may hold: those that JSON has, since every tower-sessions store can carry them."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from sled_sessions.errors import EncodeError

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"

MAX_DEPTH = 128
"""Containers inside containers, the data itself included; serde_json, which Rust programs use, has the same limit."""

_SCALARS = frozenset({type(None), bool, int, str})
_PLAIN = _SCALARS | {float, list, dict}
_STR = {str}


def is_plain(data: dict[str, Any]) -> bool:
    """Whether `data` consists of JSON's own Python types alone, so that it can be encoded as it is.

    This is the fast path of a save; integers beyond 64 bits and lone surrogates are left to the encoder.
    """
    return type(data) is dict and _keys_are_plain(data) and _are_plain(data.values(), MAX_DEPTH - 1)


def _keys_are_plain(data: dict[Any, Any]) -> bool:
    return not data or set(map(type, data)) == _STR


def _are_plain(values: Iterable[Any], depth: int) -> bool:
    types = set(map(type, values))
    if types <= _SCALARS:
        return True
    if not (types <= _PLAIN and depth):
        return False
    for value in values:
        kind = type(value)
        if kind is float:
            if not math.isfinite(value):
                return False
        elif kind is dict:
            if not (_keys_are_plain(value) and _are_plain(value.values(), depth - 1)):
                return False
        elif kind is list and not _are_plain(value, depth - 1):
            return False
    return True


def to_plain(value: object, path: str = "data", depth: int = MAX_DEPTH) -> JSON:
    """Return a copy of `value` made of JSON's own Python types: tuples become lists, subclasses their base.

    Raises:
        EncodeError: JSON cannot hold it; the message names the path to the offending value, never the value.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if not -(2**63) <= value < 2**64:
            raise EncodeError(f"{path}: an integer beyond 64 bits; store it as text")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise EncodeError(f"{path}: JSON has no NaN and no infinity; store None instead")
        return float(value)
    if isinstance(value, str):
        return _text(value, path)
    if not isinstance(value, Mapping | list | tuple):
        raise EncodeError(f"{path}: JSON has no {type(value).__name__}; {_CURES.get(type(value).__name__, _CURE)}")
    if depth == 0:
        raise EncodeError(f"{path[:60]}…: more than {MAX_DEPTH} levels deep, or a container that holds itself")
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise EncodeError(f"{path}: a key is {type(key).__name__}, not str; JSON's keys are text")
        return {
            _text(key, f"{path}: a key"): to_plain(each, f"{path}[{key!r}]", depth - 1) for key, each in value.items()
        }
    return [to_plain(each, f"{path}[{place}]", depth - 1) for place, each in enumerate(value)]


_CURE = "convert it to text, a number, a list or a dict"
_CURES = {
    "bytes": "store base64 text",
    "bytearray": "store base64 text",
    "datetime": "store its isoformat()",
    "date": "store its isoformat()",
    "time": "store its isoformat()",
    "set": "store sorted(...) of it",
    "frozenset": "store sorted(...) of it",
    "Decimal": "store its str()",
    "UUID": "store its str()",
}


def _text(value: str, path: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise EncodeError(f"{path}: text with a lone surrogate has no UTF-8 form") from None
    return str.__str__(value)
