"""The session id: 128 random bits, written three ways."""

import binascii
import os
import re
from typing import Self

import attrs

from sled_sessions.errors import DecodeError

KEY_LENGTH = 16
"""Bytes of an id as the key in a tree."""

TEXT_LENGTH = 22
"""Characters of an id as text."""

# 22 characters hold 132 bits: the last one's low 4 bits must be zero, so each id has exactly one spelling.
_TEXT = re.compile(rb"[A-Za-z0-9_-]{21}[AQgw]")
_set = object.__setattr__
_TO_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_FROM_URL_SAFE = bytes.maketrans(b"-_", b"+/")


@attrs.frozen(repr=False, order=True, init=False)
class Id:
    """A session id, as tower-sessions has it: an `i128` from a cryptographic random source.

    `str(id)` is its text in a cookie, `bytes(id)` its key in a tree, `int(id)` the signed number itself.
    Whoever knows the text holds the session, so `repr(id)` shows only its first characters.

    Attributes:
        key: The 16 bytes of the number, big-endian.
    """

    key: bytes

    def __init__(self, key: bytes) -> None:
        if not (isinstance(key, bytes) and len(key) == KEY_LENGTH):
            raise DecodeError("a session id has exactly 16 bytes; Id.parse(text) reads a cookie's text")
        _set(self, "key", key)  # it is frozen for everybody else

    @classmethod
    def new(cls) -> Self:
        """Draw a new id from the operating system's random source."""
        return cls(os.urandom(KEY_LENGTH))  # as `secrets` does, whose import takes milliseconds

    @classmethod
    def parse(cls, text: str | bytes) -> Self:
        """Read an id as `str(id)` writes it: 22 characters, the URL-safe unpadded base64 of its little-endian bytes.

        Args:
            text: The characters, or the bytes of their ASCII, as a cookie has them.

        Raises:
            DecodeError: `text` is not what `str` of some id gives.
        """
        if isinstance(text, str):
            text = text.encode("ascii", "replace")
        if not (isinstance(text, bytes) and _TEXT.fullmatch(text)):
            raise DecodeError("not a session id: 22 characters of URL-safe base64 without padding are expected")
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
    """The error for what is used as an id and is none."""
    return TypeError(
        f"a session's id is an Id, not {type(value).__name__}; Id.parse(text) makes one of a cookie's text"
    )
