"""Values of a declared shape as JSON data: msgspec structs, attrs classes, dataclasses, Pydantic models."""

import re
from typing import Any, TypeVar

import msgspec

from sled_sessions.errors import DecodeError, EncodeError

_T = TypeVar("_T")

_ENUM_VALUE = re.compile(r"^Invalid enum value .*?(?= - at `[^`]*`$|$)", re.DOTALL)


def to_data(value: object) -> Any:
    """The value as JSON data, moments and the like as text. O(n).

    Raises:
        EncodeError: Its type, or that of a part of it, is unknown.
    """
    try:
        return msgspec.to_builtins(value, str_keys=True, enc_hook=_dump)
    except (TypeError, ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, TypeError) else type(error).__name__  # others may quote the value
    raise EncodeError(f"{type(value).__name__} cannot be turned into JSON data: {reason}")


def from_data(data: object, shape: type[_T], name: str) -> _T:
    """A value of this shape. O(n).

    Raises:
        DecodeError: The data do not have the shape; the message names the path in `name` to what is wrong.
        TypeError: `shape` is not a type that msgspec or Pydantic knows.
    """
    try:
        return msgspec.convert(data, shape, str_keys=True, dec_hook=_load)
    except msgspec.ValidationError as error:
        reason = _without_values(error).replace("`$", f"`{name}")
    except NotImplementedError as error:
        raise TypeError(str(error)) from None
    raise DecodeError(f"{name} is not a {getattr(shape, '__name__', shape)}: {reason}")


class _Problems(ValueError):
    """What Pydantic found, without the values."""


def _without_values(error: msgspec.ValidationError) -> str:
    """The message without the data that it quotes, which may be secret: an enum's value, or what a validator says."""
    message, cause = str(error), error.__cause__
    if cause is not None and not isinstance(cause, _Problems):
        message = message.replace(str(cause), f"a validator raised {type(cause).__name__}")
    return _ENUM_VALUE.sub("Invalid enum value", message)


def _dump(value: Any) -> Any:
    """A Pydantic model's data, for msgspec, which knows the other kinds."""
    if not hasattr(value, "model_dump"):
        raise TypeError(f"{type(value).__name__} is not JSON")
    return value.model_dump(mode="json", by_alias=True, round_trip=True)


def _load(shape: Any, data: object) -> Any:
    if not hasattr(shape, "model_validate_json"):
        raise NotImplementedError(f"{shape!r} is neither a type that msgspec knows nor a Pydantic model")
    try:
        return shape.model_validate_json(msgspec.json.encode(data))  # as JSON: a strict model takes a moment as text
    except ValueError as error:
        if not hasattr(error, "errors"):
            raise
        problems = error.errors(include_input=False, include_url=False, include_context=False)
    # What the model's own validators raised may quote the value.
    reasons = [each["type" if each["type"] in ("value_error", "assertion_error") else "msg"] for each in problems]
    paths = [".".join(map(str, each["loc"])) for each in problems]
    raise _Problems("; ".join(f"{path}: {reason}" for path, reason in zip(paths, reasons, strict=True)))
