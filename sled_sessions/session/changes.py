"""What changed in a session: values are compared by their images, so that nested changes are noticed.

The image of a scalar is the value itself, and that of a list, a dict or a float its encoding.
"""

from typing import Any, NamedTuple

import msgspec

from sled_sessions.errors import EncodeError, RecordTooLarge
from sled_sessions.records.json import MAX_DEPTH, is_json, to_plain
from sled_sessions.records.record import too_large

ABSENT = object()
"""The image of a missing key."""

SCALARS = frozenset({type(None), bool, int, str})

UNCHANGING = SCALARS | {type(ABSENT)}
"""The types of values that are their own image."""

pack = msgspec.msgpack.Encoder().encode
CANNOT_PACK = (TypeError, ValueError, OverflowError, RecursionError)
"""What `pack` raises for values that it cannot encode."""

_pack_sorted = msgspec.msgpack.Encoder(order="sorted").encode
unpack = msgspec.msgpack.Decoder().decode


class Changes(NamedTuple):
    """What a commit has to store, as copies: later changes to a container do not affect them.

    A container that the app first uses while the store is awaited is not among them, and may be stored as it then is.

    Attributes:
        changed: The keys that were set, with their values.
        kept: Keys whose container has its old value, although the app may have changed it and changed it back, each
            with the image.
        removed: Keys that were removed.
        images: Every key that was touched, with the image of its value.
    """

    changed: dict[str, Any]
    kept: dict[str, bytes]
    removed: list[str]
    images: dict[str, object]

    def add_container(self, key: str, image: bytes, before: object, max_bytes: int) -> None:
        """Add a list or a dict, with the image of the key's value before; RecordTooLarge if it has grown too large."""
        if image == before:
            self.kept[key] = image
            return
        if len(image) > max_bytes:
            raise _too_large(key, len(image), max_bytes)
        value = unpack(image)
        if isinstance(before, bytes) and len(before) == len(image) and _is_reordered(value, unpack(before)):
            self.kept[key] = image
        else:
            self.changed[key] = value

    def __repr__(self) -> str:
        return f"Changes(changed={list(self.changed)}, removed={self.removed})"  # values may be secrets


def image_of(key: str, value: object) -> object:
    """The image of a key's value that is not `UNCHANGING`, O(n); EncodeError, with the path, if JSON cannot hold it."""
    if isinstance(value, (int, str)):
        return to_plain(value)
    try:
        image = pack(value)
        if is_json(value, MAX_DEPTH - 1):
            return image
    except CANNOT_PACK:
        pass
    return pack(to_plain(value, f"session[{key!r}]", MAX_DEPTH - 1))


def _is_reordered(value: object, before: object) -> bool:
    """Whether two values differ at most in the order of the keys of dicts. O(n log n)."""
    return value == before and _pack_sorted(value) == _pack_sorted(before)  # to Python, True == 1 == 1.0


def check(key: str, value: Any, max_bytes: int) -> None:
    """Refuse what a session cannot hold.

    Raises:
        EncodeError: The key is not a str, or JSON cannot hold the value; the message names the path.
        RecordTooLarge: The encoding has more than `max_bytes`.
    """
    if not isinstance(key, str):
        raise EncodeError(f"a session's keys must be str, not {type(key).__name__}")
    data = {key: value}
    try:
        size = len(pack(data))
        is_done = size > max_bytes or is_json(data, MAX_DEPTH)
    except CANNOT_PACK:
        is_done = False
    if not is_done:
        size = len(pack(to_plain(data, "session")))  # raises with the path, or converts to plain types
    if size > max_bytes:
        raise _too_large(key, size, max_bytes)


def _too_large(key: str, size: int, max_bytes: int) -> RecordTooLarge:
    return too_large(f"session[{key[:40]!r}]", size, max_bytes)
