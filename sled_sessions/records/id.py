"""The session id: 128 random bits as text, bytes or an integer."""

import binascii
import os
import re
from typing import Self

import attrs

from sled_sessions.errors import DecodeError

KEY_LENGTH = 16
"""Bytes of an id as a key in a tree."""

TEXT_LENGTH = 22
"""Characters of an id as text."""

# 22 characters hold 132 bits. Requiring the last 4 to be zero gives each id exactly one text.
_TEXT = re.compile(rb"[A-Za-z0-9_-]{21}[AQgw]")
_set = object.__setattr__
_TO_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_FROM_URL_SAFE = bytes.maketrans(b"-_", b"+/")


@attrs.frozen(repr=False, order=True, init=False)
class Id:
    """A session id, as in tower-sessions: an `i128` from a cryptographic random source.

    `str(id)` is its text in a cookie, `bytes(id)` its key in a tree, and `int(id)` the signed number.
    The text gives access to the session, so `repr(id)` shows only its first characters.

    Attributes:
        key: The number's 16 bytes, big-endian.

    Raises:
        DecodeError: `key` is not 16 bytes.
    """

    key: bytes

    def __init__(self, key: bytes) -> None:
        if not (isinstance(key, bytes) and len(key) == KEY_LENGTH):
            raise DecodeError("a session id has exactly 16 bytes; Id.parse(text) reads a cookie's text")
        _set(self, "key", key)  # attrs has frozen plain assignment

    @classmethod
    def new(cls) -> Self:
        """Create a random id from the operating system's cryptographic source."""
        return cls(os.urandom(KEY_LENGTH))  # what `secrets` calls, without its milliseconds of import

    @classmethod
    def parse(cls, text: str | bytes) -> Self:
        """Parse `str(id)`: 22 characters, the unpadded URL-safe base64 of the id's little-endian bytes.

        Args:
            text: A cookie's value, as text or as ASCII bytes.

        Raises:
            DecodeError: `text` is not the text of an id.
        """
        if isinstance(text, str):
            text = text.encode("ascii", "replace")
        if not (isinstance(text, bytes) and _TEXT.fullmatch(text)):
            raise DecodeError("not a session id: expected 22 characters of unpadded URL-safe base64")
        return cls(binascii.a2b_base64(text.translate(_FROM_URL_SAFE) + b"==")[::-1])

    def __str__(self) -> str:
        return binascii.b2a_base64(self.key[::-1], newline=False)[:TEXT_LENGTH].translate(_TO_URL_SAFE).decode("ascii")

    def __bytes__(self) -> bytes:
        return self.key

    def __int__(self) -> int:
        return int.from_bytes(self.key, "big", signed=True)

    def __repr__(self) -> str:
        return f"Id('{str(self)[:4]}…')"


def not_an_id(value: object) -> TypeError:
    """The error to raise for a value that should be an Id and is not."""
    return TypeError(f"a session id must be an Id, not {type(value).__name__}; Id.parse(text) reads a cookie's text")
