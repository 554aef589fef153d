"""Records: what a session is while it lies in a store, and the bytes it is written as. No I/O here."""

from sled_sessions.records.expiry import Expiry
from sled_sessions.records.id import Id
from sled_sessions.records.json import JSON
from sled_sessions.records.record import Record

__all__ = ["JSON", "Expiry", "Id", "Record"]
