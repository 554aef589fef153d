"""What changed in a session: values are compared by their images, so that nested changes are noticed.

The image of a scalar is the value itself, and that of a list or dict its encoding with its key.
"""

from typing import Any, NamedTuple

import msgspec

from sled_sessions.errors import EncodeError
from sled_sessions.records.json import is_plain, to_plain

ABSENT = object()
"""The image of a missing key."""

SCALARS = frozenset({type(None), bool, int, str})

UNCHANGING = SCALARS | {type(ABSENT)}
"""The types of values that are their own image."""

_pack = msgspec.msgpack.Encoder().encode
_pack_sorted = msgspec.msgpack.Encoder(order="sorted").encode
unpack = msgspec.msgpack.Decoder(dict[str, Any]).decode


class Changes(NamedTuple):
    """What a commit has to store, as copies: later changes to a container do not affect them.

    A container that the app first uses while the store is awaited is not among them, and may be stored as it then is.

    Attributes:
        changed: The keys that were set, with their values.
        kept: Keys whose container has its old value, although the app may have changed it and changed it back.
        removed: Keys that were removed.
        images: Every key that was touched, with the image of its value.
    """

    changed: dict[str, Any]
    kept: dict[str, Any]
    removed: list[str]
    images: dict[str, object]

    def __repr__(self) -> str:
        return f"Changes(changed={list(self.changed)}, removed={self.removed})"  # values may be secrets


def image_of(key: str, value: object) -> object:
    """The image of a value that is not `UNCHANGING`; EncodeError, which names the path, if JSON cannot hold it."""
    return to_plain(value) if isinstance(value, int | str) else encode(key, value)


def is_same(image: bytes, other: object) -> bool:
    """Whether the image of a list or dict equals another image; the order of a dict's keys does not count."""
    if image == other:
        return True
    if not (isinstance(other, bytes) and len(image) == len(other)):
        return False
    return _pack_sorted(unpack(image)) == _pack_sorted(unpack(other))


def encode(key: str, value: Any) -> bytes:
    """Encode a key and its value; EncodeError if the key is not a str, or, with the path, if JSON cannot hold it."""
    if not isinstance(key, str):
        raise EncodeError(f"a session's keys must be str, not {type(key).__name__}")
    data = {key: value}
    try:
        encoded = _pack(data)
        if type(value) in SCALARS or is_plain(data, encoded):
            return encoded
    except (TypeError, ValueError, OverflowError, RecursionError):
        pass  # `to_plain` raises with the path, or converts to a plain type
    return _pack(to_plain(data, "session"))
