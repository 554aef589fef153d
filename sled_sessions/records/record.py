"""The session id, and the record: a session as a store keeps it."""

import binascii
import os
import re
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, Self

import attrs

from sled_sessions.errors import DecodeError, EncodeError, RecordTooLarge
from sled_sessions.records import codec
from sled_sessions.tracebacks import forget_locals, guarded

KEY_LENGTH = 16
"""Bytes of an id as a key in a tree."""

TEXT_LENGTH = 22
"""Characters of an id as text."""

MAX_RECORD_BYTES = 64 * 1024
"""The stores' default limit: half of the largest page that sled keeps in its log, so no single record needs a file."""

# 22 characters hold 132 bits. Requiring the last 4 to be zero gives each id exactly one text.
_TEXT = re.compile(rb"[A-Za-z0-9_-]{21}[AQgw]")
_set = object.__setattr__
_TO_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_FROM_URL_SAFE = bytes.maketrans(b"-_", b"+/")


@attrs.frozen(repr=False, order=True, init=False)
class Id:
    """A session id, as in tower-sessions: an `i128` from a cryptographic random source.

    `str(id)` is its text in a cookie, `bytes(id)` its key in a tree, and `int(id)` the signed number.
    The text gives access to the session, so `repr(id)`, and a template with autoescape, show only its first characters.

    Attributes:
        key: The number's 16 bytes, big-endian.

    Raises:
        DecodeError: `key` is not 16 bytes.
    """

    key: bytes

    def __init__(self, key: bytes) -> None:
        if not (isinstance(key, bytes) and len(key) == KEY_LENGTH):
            del key  # it may be an id as text
            raise DecodeError("a session id has exactly 16 bytes; Id.parse(text) reads a cookie's text")
        _set(self, "key", key)  # attrs has frozen plain assignment

    @classmethod
    def new(cls) -> Self:
        """Create a random id from the operating system's cryptographic source."""
        return cls(os.urandom(KEY_LENGTH))  # what `secrets` calls, without its milliseconds of import

    @classmethod
    def parse(cls, text: str | bytes) -> Self:
        """Parse `str(id)`, or its ASCII bytes: 22 characters, the unpadded URL-safe base64 of its little-endian bytes.

        Raises:
            DecodeError: `text` is not the text of an id.
        """
        if isinstance(text, str):
            text = text.encode("ascii", "replace")
        if not (isinstance(text, bytes) and _TEXT.fullmatch(text)):
            del text  # it may be an id and something more
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

    def __html__(self) -> str:
        """The first characters, for templates with autoescape: `{{ session.id }}` must not put the id into a page."""
        from sled_sessions.display.text import masked_id

        return masked_id(self)


def not_an_id(value: object) -> TypeError:
    """The error to raise for a value that should be an Id and is not."""
    return TypeError(f"a session id must be an Id, not {type(value).__name__}; Id.parse(text) reads a cookie's text")


def too_large(what: str, size: int, max_bytes: int) -> RecordTooLarge:
    """The error to raise for what has `size` bytes and does not fit into a record of `max_bytes`."""
    return RecordTooLarge(
        f"{what} has {size:,} bytes, and max_record_bytes is {max_bytes:,}; "
        "keep what is large elsewhere and its key in the session"
    )


@attrs.define(repr=False, init=False)
class Record:
    """A session's id, its data and the moment it expires (tower-sessions' `Record`).

    Args:
        id: The session's id.
        data: Text keys to JSON values: None, bool, int (64 bits), float (finite), str, list, dict.
        expiry_date: An aware datetime, to the microsecond; the session is live before it and expired from it on.
        version: For stores: the token for `version`.
        is_checked: The data is known to be JSON, so encoding skips the check: a session checks each value as it is set,
            and what it did not touch comes from a store, which returns nothing else.

    Raises:
        EncodeError: `expiry_date` is naive. If it becomes naive later, encoding raises.
        TypeError: `id` is not an Id.
    """

    id: Id
    data: dict[str, Any]
    expiry_date: datetime
    _version: object = attrs.field(init=False, eq=False)
    _is_checked: bool = attrs.field(init=False, eq=False)

    def __init__(
        self, id: Id, data: dict[str, Any], expiry_date: datetime, *, version: object = None, is_checked: bool = False
    ) -> None:
        if not isinstance(id, Id):
            error = not_an_id(id)
            del id, data
            raise error
        if getattr(expiry_date, "tzinfo", None) is not UTC:  # nearly always UTC, and every load comes through here
            try:
                codec.require_aware(expiry_date, "expiry_date")
            except EncodeError:
                del data
                raise
        self.id = id
        self.data = data
        self.expiry_date = expiry_date
        self._version = version
        self._is_checked = is_checked

    # An attrgetter rather than a function: reading it costs no Python call.
    version = property(
        attrgetter("_version"),
        doc="Opaque token by which a store recognises a record that it returned; None for one that no store returned.",
    )

    def encode(self, max_bytes: int | None = None) -> bytes:
        """Encode the record as the Rust crate does; `codec` describes the format.

        Raises:
            EncodeError: JSON cannot hold the data; the message names the path to the offending value.
            RecordTooLarge: The encoded record has more than `max_bytes`.
        """
        try:  # not `guarded`, here and in `decode_live`: each costs a request more than its share
            value = codec.encode(self.id.key, self.data, self.expiry_date, self._is_checked)
        except EncodeError as error:
            forget_locals(error)
            raise
        if max_bytes is not None and (size := len(value)) > max_bytes:
            del value
            raise too_large("the record", size, max_bytes)
        return value

    @classmethod
    @guarded
    def decode(cls, value: bytes) -> Self:
        """Decode a record that this package or the Rust crate wrote; nanoseconds are rounded down to microseconds.

        Raises:
            DecodeError: The bytes are not a valid record.
        """
        key, data, expiry_date = codec.decode(value)
        return cls(Id(key), data, expiry_date)

    @classmethod
    def decode_live(cls, id: Id, value: bytes, now: datetime) -> Self | None:
        """Decode the record stored under this id, with its bytes as its version; None if it has expired.

        Raises:
            DecodeError: The bytes are not a valid record, or are another session's.
        """
        try:
            key, data, expiry_date = codec.decode(value)
        except DecodeError as error:
            del value
            forget_locals(error)
            raise
        if key != id.key:
            del key, data, value
            raise DecodeError("the bytes under this id are another session's record")
        return None if expiry_date <= now else cls(id, data, expiry_date, version=value)

    @classmethod
    @guarded
    def decode_stored(cls, key: bytes, value: bytes) -> Self:
        """Decode the record stored under this key, live or expired.

        Raises:
            DecodeError: The bytes are not a valid record, or are another session's.
        """
        record = cls.decode(value)
        if record.id.key != key:
            raise DecodeError("the bytes under this id are another session's record")
        return record

    @classmethod
    def decode_if_readable(cls, key: bytes, value: bytes) -> Self | None:
        """Decode like `decode_stored`; None where that raises."""
        try:
            return cls.decode_stored(key, value)
        except DecodeError:
            return None

    def is_live_state(self, now: datetime) -> bool:
        """Whether a store returned this record, with bytes as its version, and it has not expired."""
        return isinstance(self._version, bytes) and self.expiry_date > now

    def __repr__(self) -> str:
        # Values may be secrets; keys tell a reader what the session is about.
        return f"Record({self.id!r}, keys={list(self.data)}, expiry_date={self.expiry_date.isoformat()})"

    def _repr_html_(self) -> str:
        from sled_sessions.display import html, text

        facts = {"expires": text.moment(self.expiry_date)}
        return html.card(f"Record {text.masked_id(self.id)}", facts, html.data(self.data))
