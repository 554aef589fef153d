"""Records: what a store keeps of a session, and how it is encoded. Nothing here does I/O."""

from sled_sessions.records.expiry import Expiry
from sled_sessions.records.json import JSON
from sled_sessions.records.record import Id, Record

__all__ = ["JSON", "Expiry", "Id", "Record"]
