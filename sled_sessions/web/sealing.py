"""Signed and encrypted cookie values, as Rust's `cookie` crate writes them.

A key has 64 bytes: the first 32 sign, the last 32 encrypt. Further bytes are ignored, as by `Key::from`.

- signed: the standard base64 of the value's HMAC-SHA256, 44 characters, then the value;
- private: the standard base64 of a 12-byte nonce, the AES-256-GCM ciphertext and its 16-byte tag. The cookie's name is
  the associated data, so a value is not valid in another cookie.
"""

import binascii
import os
from collections.abc import Iterable
from typing import Protocol

Keys = bytes | Iterable[bytes]
"""One key, or several for rotation: the first one seals, and each of them opens."""

_DIGEST_LENGTH = 44
_NONCE_LENGTH = 12


class Seal(Protocol):
    """Turns a session id into a cookie's value and back."""

    def seal(self, text: str) -> str:
        """The cookie's value for a text."""

    def open(self, value: str) -> str | None:
        """The text in a cookie's value, or None if none of the keys sealed it."""


class Signed:
    """Prefixes the id with its HMAC, so that ids made up by a client never reach the store."""

    def __init__(self, keys: Keys) -> None:
        import hmac  # imported here because it loads OpenSSL

        self._hmac = hmac
        self._keys = [key[:32] for key in _check(keys, "signed_key")]

    def seal(self, text: str) -> str:
        """The signature followed by the text."""
        return self._digest(self._keys[0], text) + text

    def open(self, value: str) -> str | None:
        """The text if its signature is valid, else None."""
        digest, text = value[:_DIGEST_LENGTH], value[_DIGEST_LENGTH:]
        if not value.isascii():  # never written here, and compare_digest would raise
            return None
        return text if any(self._hmac.compare_digest(self._digest(key, text), digest) for key in self._keys) else None

    def _digest(self, key: bytes, text: str) -> str:
        return _base64(self._hmac.digest(key, text.encode(), "sha256"))


class Private:
    """Encrypts the id, so that not even the visitor can read it. Needs the package `cryptography`."""

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
        """The encrypted text, with a new random nonce on each call."""
        nonce = os.urandom(_NONCE_LENGTH)
        return _base64(nonce + self._ciphers[0].encrypt(nonce, text.encode(), self._name))

    def open(self, value: str) -> str | None:
        """The text if one of the keys encrypted it for this cookie, else None."""
        try:
            sealed = binascii.a2b_base64(value, strict_mode=True)
        except ValueError:
            return None
        # Accept only the canonical base64, as Rust does: Python ignores surplus bits after the last byte.
        if len(sealed) <= _NONCE_LENGTH or _base64(sealed) != value:
            return None
        for cipher in self._ciphers:
            try:
                return cipher.decrypt(sealed[:_NONCE_LENGTH], sealed[_NONCE_LENGTH:], self._name).decode()
            except (self._invalid, UnicodeDecodeError):
                continue
        return None


def seal_of(name: str, signed_key: Keys | None = None, private_key: Keys | None = None) -> Seal | None:
    """The seal of a cookie with this name; None without a key.

    Raises:
        ValueError: A key is too short, or both were given.
        ImportError: `private_key` without the package cryptography.
    """
    if signed_key is not None and private_key is not None:
        raise ValueError("give signed_key or private_key, not both: an encrypted cookie is authenticated as well")
    if private_key is not None:
        return Private(private_key, name)
    return None if signed_key is None else Signed(signed_key)


def _base64(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode()


def _check(keys: Keys, name: str) -> list[bytes]:
    found = [keys] if isinstance(keys, bytes) or not isinstance(keys, Iterable) else list(keys)
    if not found:
        raise ValueError(f"{name} is an empty list; pass at least one key")
    for key in found:
        if not isinstance(key, bytes):
            raise TypeError(f"{name} must be bytes or a list of bytes; secrets.token_bytes(64) makes a key")
        if len(key) < 64:
            raise ValueError(f"{name} needs at least 64 bytes, but has {len(key)}; secrets.token_bytes(64) makes a key")
    return found
