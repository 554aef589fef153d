"""The record: what a store keeps of a session."""

from datetime import UTC, datetime
from typing import Any, Self

import attrs

from sled_sessions.records import codec
from sled_sessions.records.id import Id, not_an_id


@attrs.define(repr=False, init=False)
class Record:
    """A session's id, its data and the moment it expires (tower-sessions' `Record`).

    Attributes:
        id: The session's id.
        data: Text keys to JSON values: None, bool, int (64 bits), float (finite), str, list, dict.
        expiry_date: An aware datetime with microseconds. The session is live before this moment and expired from it on.
        stored: The bytes that a store read this record from, or wrote it as in an `update`; empty before. They tell
            whether another writer has come since, and are not compared.
        is_checked: Whether JSON is known to hold the data, so that encoding need not look again: a session has looked
            at each value that was set. False, unless whoever made the record says so; not compared.

    Raises:
        EncodeError: `expiry_date` is naive. If it is set to a naive datetime later, `encode` raises instead.
        TypeError: `id` is not an Id.
    """

    id: Id
    data: dict[str, Any]
    expiry_date: datetime
    stored: bytes = attrs.field(init=False, eq=False)
    is_checked: bool = attrs.field(init=False, eq=False)

    def __init__(self, id: Id, data: dict[str, Any], expiry_date: datetime) -> None:
        if not isinstance(id, Id):
            raise not_an_id(id)
        if getattr(expiry_date, "tzinfo", None) is not UTC:  # the usual case, which keeps loading fast
            codec.require_aware(expiry_date, "expiry_date")
        self.id = id
        self.data = data
        self.expiry_date = expiry_date
        self.stored = b""
        self.is_checked = False

    def encode(self) -> bytes:
        """Encode the record as the Rust crate does; see `codec` for the format.

        Raises:
            EncodeError: JSON cannot hold the data. The message names the path to the offending value.
        """
        return codec.encode(self.id.key, self.data, self.expiry_date, self.is_checked)

    @classmethod
    def decode(cls, value: bytes) -> Self:
        """Decode a record that this package or the Rust crate wrote, rounding nanoseconds down to microseconds.

        Raises:
            DecodeError: The bytes are not a valid record.
        """
        key, data, expiry_date = codec.decode(value)
        return cls(Id(key), data, expiry_date)

    def __repr__(self) -> str:
        # Keys identify the session for a reader; values may be secret.
        return f"Record({self.id!r}, keys={list(self.data)}, expiry_date={self.expiry_date.isoformat()})"

    def _repr_html_(self) -> str:
        from sled_sessions.display import html, text

        facts = {"expires": text.moment(self.expiry_date)}
        return html.card(f"Record {text.masked_id(self.id)}", facts, html.data(self.data))
