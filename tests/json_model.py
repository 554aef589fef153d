"""What JSON is to this package, in plain Python: the model that the package's check is compared with."""

import math
from collections.abc import Mapping

from sled_sessions import EncodeError
from sled_sessions.records.json import MAX_DEPTH

_CURE = "convert it to text, a number, a list or a dict"
_CURES = {
    **dict.fromkeys(("bytes", "bytearray"), "store base64 text"),
    **dict.fromkeys(("datetime", "date", "time"), "store its isoformat()"),
    **dict.fromkeys(("set", "frozenset"), "store sorted(...) of it"),
    **dict.fromkeys(("Decimal", "UUID"), "store its str()"),
}


def to_plain(value, path="data", depth=MAX_DEPTH):
    """A copy in JSON's own types; EncodeError, with the path, if JSON cannot hold the value."""
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
        for place, each in enumerate(value):
            plain_list.append(to_plain(each, f"{path}[{place}]", depth - 1))
        return plain_list
    plain_dict = {}
    for key, each in value.items():
        if not isinstance(key, str):
            raise EncodeError(f"{path}: a key is {type(key).__name__}, not str; JSON's keys are text")
        plain_dict[_text(key, f"{path}: a key")] = to_plain(each, f"{path}[{key!r}]", depth - 1)
    return plain_dict


def is_exactly_json(value, levels=MAX_DEPTH):
    """Whether the value has only JSON's own types, tuples among them; any integer and any text will do."""
    if type(value) is dict:
        if any(type(key) is not str for key in value):
            return False
        inner = value.values()
    elif type(value) in (list, tuple):
        inner = value
    else:
        return value is None or type(value) in (bool, int, str) or (type(value) is float and math.isfinite(value))
    if levels == 0:
        return False
    for each in inner:  # noqa: SIM110 - `all` would use one more stack frame per level
        if not is_exactly_json(each, levels - 1):
            return False
    return True


def _text(value, path):
    try:
        value.encode()
    except UnicodeEncodeError:
        raise EncodeError(f"{path}: text with a lone surrogate has no UTF-8 form") from None
    return str.__str__(value)
