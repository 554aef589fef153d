"""What changed in a session: values are compared by their images, so that nested changes are noticed.

The image of a scalar is the value itself, and that of a list or dict its encoding with its key.
"""

import sys
from typing import Any, NamedTuple

import msgspec

from sled_sessions.errors import EncodeError
from sled_sessions.records.json import is_plain, to_plain
from sled_sessions.records.record import too_large

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
        kept: Images of the containers that have their old value, although the app may have changed them and back.
        removed: Keys that were removed.
        images: Every key that was touched, with the image of its value.
    """

    changed: dict[str, Any]
    kept: list[bytes]
    removed: list[str]
    images: dict[str, object]

    def __repr__(self) -> str:
        return f"Changes(changed={list(self.changed)}, removed={self.removed})"  # values may be secrets


def image_of(key: str, value: object) -> object:
    """The image of a value that is not `UNCHANGING`, O(n); EncodeError, with the path, if JSON cannot hold it."""
    return to_plain(value) if isinstance(value, int | str) else encode(key, value)


def is_same(image: bytes, other: object) -> bool:
    """Whether the image of a list or dict equals another image; the order of a dict's keys does not count."""
    if image == other:
        return True
    if not (isinstance(other, bytes) and len(image) == len(other)):
        return False
    return _pack_sorted(unpack(image)) == _pack_sorted(unpack(other))


def encode(key: str, value: Any, max_bytes: int = sys.maxsize) -> bytes:
    """Encode a key and its value. O(n).

    Raises:
        EncodeError: The key is not a str, or JSON cannot hold the value; the message names the path.
        RecordTooLarge: The encoding has more than `max_bytes`.
    """
    if not isinstance(key, str):
        raise EncodeError(f"a session's keys must be str, not {type(key).__name__}")
    data = {key: value}
    try:
        encoded = _pack(data)
        is_done = type(value) in SCALARS or len(encoded) > max_bytes or is_plain(data)
    except (TypeError, ValueError, OverflowError, RecursionError):
        is_done = False
    if not is_done:
        encoded = _pack(to_plain(data, "session"))  # raises with the path, or converts to plain types
    check_size(key, encoded, max_bytes)
    return encoded


def check_size(key: str, encoded: bytes, max_bytes: int) -> None:
    """Raise RecordTooLarge if a key's encoding has more than `max_bytes`, so that no record can hold it."""
    if len(encoded) > max_bytes:
        raise too_large(f"session[{key[:40]!r}]", len(encoded), max_bytes)
