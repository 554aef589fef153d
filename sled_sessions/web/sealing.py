"""Signed and encrypted cookie values, as Rust's `cookie` crate writes them.

A key has 64 bytes, of which the first 32 sign and the last 32 encrypt; what is longer is cut (`Key::from`).

- signed: the standard base64 of HMAC-SHA256 over the value, 44 characters, then the value itself;
- private: the standard base64 of the 12-byte nonce, the AES-256-GCM ciphertext and its 16-byte tag, with the cookie's
  name as associated data, so that a value cannot be moved to another cookie.
"""

import binascii
import os
from collections.abc import Iterable
from typing import Protocol

Keys = bytes | Iterable[bytes]
"""One key, or several: the first one seals, and what any of them sealed is opened."""

_DIGEST_LENGTH = 44
_NONCE_LENGTH = 12


class Seal(Protocol):
    """How a session id is written into a cookie's value."""

    def seal(self, text: str) -> str:
        """The cookie's value for this text."""

    def open(self, value: str) -> str | None:
        """The text in a cookie's value, or None when nobody who has a key wrote it."""


class Signed:
    """The id behind its HMAC: values that this server did not write never reach the store."""

    def __init__(self, keys: Keys) -> None:
        import hmac  # loads OpenSSL, which nobody else needs

        self._hmac = hmac
        self._keys = [key[:32] for key in _check(keys, "signed_key")]

    def seal(self, text: str) -> str:
        """The signature and the text."""
        return self._digest(self._keys[0], text) + text

    def open(self, value: str) -> str | None:
        """The text, if its signature is right."""
        digest, text = value[:_DIGEST_LENGTH], value[_DIGEST_LENGTH:]
        # compare_digest takes ASCII text only; what is no ASCII was not written here.
        if not value.isascii():
            return None
        return text if any(self._hmac.compare_digest(self._digest(key, text), digest) for key in self._keys) else None

    def _digest(self, key: bytes, text: str) -> str:
        return _base64(self._hmac.digest(key, text.encode(), "sha256"))


class Private:
    """The id encrypted: the cookie's owner does not see it either. Needs the package `cryptography`."""

    def __init__(self, keys: Keys, name: str) -> None:
        try:
            from cryptography.exceptions import InvalidTag
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ImportError as error:
            raise ImportError(
                "private_key needs the package cryptography: pip install 'sled_sessions[private]'"
            ) from error
        self._ciphers = [AESGCM(key[32:64]) for key in _check(keys, "private_key")]
        self._invalid = InvalidTag
        self._name = name.encode()

    def seal(self, text: str) -> str:
        """The encrypted text; another one on each call."""
        nonce = os.urandom(_NONCE_LENGTH)
        sealed = nonce + self._ciphers[0].encrypt(nonce, text.encode(), self._name)
        return _base64(sealed)

    def open(self, value: str) -> str | None:
        """The text, if it was encrypted for this cookie with one of the keys."""
        try:
            sealed = binascii.a2b_base64(value, strict_mode=True)
        except ValueError:
            return None
        # One spelling only, as in Rust: Python overlooks bits that are set behind the last byte.
        if len(sealed) <= _NONCE_LENGTH or _base64(sealed) != value:
            return None
        for cipher in self._ciphers:
            try:
                return cipher.decrypt(sealed[:_NONCE_LENGTH], sealed[_NONCE_LENGTH:], self._name).decode()
            except (self._invalid, UnicodeDecodeError):
                continue
        return None


def _base64(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode()


def _check(keys: Keys, name: str) -> list[bytes]:
    found = [keys] if isinstance(keys, bytes) or not isinstance(keys, Iterable) else list(keys)
    if not found:
        raise ValueError(f"{name} is an empty list; give at least one key")
    for key in found:
        if not isinstance(key, bytes):
            raise TypeError(f"{name} must be bytes or a list of bytes, such as secrets.token_bytes(64) makes")
        if len(key) < 64:
            raise ValueError(
                f"{name} needs at least 64 bytes, such as secrets.token_bytes(64) makes; this one has {len(key)}"
            )
    return found
