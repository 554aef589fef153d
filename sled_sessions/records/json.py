"""The values a session may hold: those of JSON, which every tower-sessions store can keep."""

import math
import re
import sys
from collections.abc import Mapping
from types import GenericAlias
from typing import Annotated, Any, TypeAlias

import msgspec

from sled_sessions.errors import EncodeError

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

_NOT_CONTAINERS = bytes(byte for byte in range(256) if not (0x80 <= byte <= 0x9F or 0xDC <= byte <= 0xDF))
_NOT_FINITE = re.compile(rb"\xcb[\x7f\xff][\xf0-\xff]")

_CURE = "convert it to text, a number, a list or a dict"
_CURES = {
    **dict.fromkeys(("bytes", "bytearray"), "store base64 text"),
    **dict.fromkeys(("datetime", "date", "time"), "store its isoformat()"),
    **dict.fromkeys(("set", "frozenset"), "store sorted(...) of it"),
    **dict.fromkeys(("Decimal", "UUID"), "store its str()"),
}


def is_plain(data: dict[str, Any], encoded: bytes) -> bool:
    """Whether `data` certainly holds only JSON values, so that `encoded`, its MessagePack, can be stored unchanged.

    This is the fast path of a save: each test is one call into C. A wrong False is harmless, since `to_plain` then
    decides. msgspec also encodes other types than JSON's, but `to_builtins` converts those, so they compare unequal.
    """
    return (
        msgspec.to_builtins(data, str_keys=True) == data
        # Each level has a container header, so the bytes that may be such headers bound the depth.
        and (len(encoded) <= MAX_DEPTH or len(encoded.translate(None, _NOT_CONTAINERS)) <= MAX_DEPTH)
        and not (0xCB in encoded and _NOT_FINITE.search(encoded))
    )


def to_plain(value: object, path: str = "data", depth: int = MAX_DEPTH) -> JSON:
    """A copy of `value` in JSON's own Python types: tuples become lists, instances of subclasses become the base type.

    Raises EncodeError if JSON cannot hold `value`; the message names the path to the offending part, never its content.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if not -(2**63) <= value < 2**64:
            raise EncodeError(f"{path}: an integer beyond 64 bits; store it as text")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise EncodeError(f"{path}: JSON has no NaN or infinity; store None instead")
        return float(value)
    if isinstance(value, str):
        return _text(value, path)
    if not isinstance(value, Mapping | list | tuple):
        raise EncodeError(f"{path}: JSON has no {type(value).__name__}; {_CURES.get(type(value).__name__, _CURE)}")
    if depth == 0:
        raise EncodeError(f"{path[:60]}…: more than {MAX_DEPTH} levels deep, or a container inside itself")
    if not isinstance(value, Mapping):
        plain_list = []
        for place, each in enumerate(value):  # not a comprehension: those use a stack frame per level
            plain_list.append(to_plain(each, f"{path}[{place}]", depth - 1))
        return plain_list
    plain_dict = {}
    for key, each in value.items():
        if not isinstance(key, str):
            raise EncodeError(f"{path}: a key is {type(key).__name__}, not str; JSON's keys are text")
        plain_dict[_text(key, f"{path}: a key")] = to_plain(each, f"{path}[{key!r}]", depth - 1)
    return plain_dict


def _text(value: str, path: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise EncodeError(f"{path}: text with a lone surrogate has no UTF-8 form") from None
    return str.__str__(value)
