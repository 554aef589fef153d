"""The values a session may hold: those of JSON, which every tower-sessions store can keep."""

import math
from collections.abc import Mapping
from typing import Any, NoReturn, TypeAlias

from sled_sessions.errors import EncodeError
from sled_sessions.sled import _native

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"

MAX_DEPTH = 512
"""Levels of nested containers, counting the data itself: half of what rmp-serde reads, and safe for Python's stack."""

_CURE = "convert it to text, a number, a list or a dict"
_CURES = {
    **dict.fromkeys(("bytes", "bytearray"), "store base64 text"),
    **dict.fromkeys(("datetime", "date", "time"), "store its isoformat()"),
    **dict.fromkeys(("set", "frozenset"), "store sorted(...) of it"),
    **dict.fromkeys(("Decimal", "UUID"), "store its str()"),
}


def is_plain(data: dict[str, Any]) -> bool:
    """Whether `data`, which msgspec has encoded as MessagePack, can be stored in that encoding. O(n), in Rust.

    If not, `to_plain` converts the data, or says what is wrong with it. msgspec itself refuses integers beyond 64 bits
    and lone surrogates, but encodes more types than JSON's, NaN, and any depth.
    """
    return _native.is_json(data, MAX_DEPTH)


def to_plain(data: object, name: str = "data") -> JSON:
    """A copy in JSON's own Python types: tuples become lists, instances of subclasses become the base type. O(n).

    Raises EncodeError if JSON cannot hold `data`; the message names the path to the offending part, starting with
    `name`, and never its content.
    """
    return _to_plain(data, name, [])


def _to_plain(value: object, name: str, steps: list[object]) -> JSON:
    """`to_plain` of a part of the data; `steps` are the keys and places that lead to it."""
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
    if len(steps) == MAX_DEPTH:
        path = _path(name, steps)
        raise EncodeError(f"{path[:60]}…: more than {MAX_DEPTH} levels deep, or a container inside itself")
    steps.append(None)
    plain: JSON
    if isinstance(value, (list, tuple)):
        plain = []
        for place, each in enumerate(value):  # not a comprehension: those use a stack frame per level
            steps[-1] = place
            plain.append(_to_plain(each, name, steps))
    else:
        plain = {}
        for key, each in value.items():
            if not isinstance(key, str):
                _refuse(name, steps[:-1], f"a key is {type(key).__name__}, not str; JSON's keys are text")
            if not _is_unicode(key):
                _refuse(name, steps[:-1], "a key: text with a lone surrogate has no UTF-8 form")
            steps[-1] = key
            plain[str.__str__(key)] = _to_plain(each, name, steps)
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
