"""Session events for `logging`: structured, with keyed hashes in place of ids.

Each event is a record of the logger `sled_sessions.events` with these attributes, which a JSON formatter can show:

- `event`: "created", "rotated" (a new id, as by `cycle_id`), "deleted" (a log-out), "expired" (deleted by a sweep; not
  for a `CachingStore`'s cache) or "swept". "expired" is logged at DEBUG, the others at INFO; a sweep that deleted
  nothing at DEBUG.
- `session`: the session's hash (16 hexadecimal digits), except for "swept".
- `was`, for "rotated": the hash of the old id.
- `report` with "swept": the `SweepReport`.

An id is as good as a password, so ids are never logged. The hash is keyed: equal hashes mean the same session, and a
hash reveals nothing about the id. Each process draws its own key; `set_key` gives several processes the same one.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from sled_sessions.records import Id

logger = logging.getLogger("sled_sessions.events")

_key = os.urandom(32)

_sweeps_copies: ContextVar[bool] = ContextVar("sled_sessions_sweeps_copies", default=False)


def set_key(key: bytes) -> None:
    """Hash ids with this key, of 16 to 64 bytes. Processes that share a key log the same hash for the same session."""
    global _key
    if not isinstance(key, bytes):
        raise TypeError(f"the key must be bytes, not {type(key).__name__}")
    if not 16 <= len(key) <= 64:
        raise ValueError("the key must have 16 to 64 bytes")
    _key = key


def created(id: Id) -> None:
    """Log that a session was stored for the first time."""
    _log_event(logging.INFO, "created", session=id.key)


def rotated(old: Id, new: Id) -> None:
    """Log that a session continues under a new id."""
    _log_event(logging.INFO, "rotated", session=new.key, was=old.key)


def deleted(id: Id) -> None:
    """Log that a session was ended."""
    _log_event(logging.INFO, "deleted", session=id.key)


def expired(key: bytes) -> None:
    """Log that a sweep deleted the session with this key."""
    if wants_expired():
        _log_event(logging.DEBUG, "expired", session=key)


def wants_expired() -> bool:
    """Whether "expired" events would be logged; if not, a sweep need not report each session."""
    return not _sweeps_copies.get() and logger.isEnabledFor(logging.DEBUG)


@contextmanager
def sweeping_copies() -> Iterator[None]:
    """Suppress "expired" events: what is swept here are copies, and the session itself has its event elsewhere."""
    token = _sweeps_copies.set(True)
    try:
        yield
    finally:
        _sweeps_copies.reset(token)


def swept(report: object, deleted: int, seconds: float) -> None:
    """Log that a sweep has finished."""
    logger.log(
        logging.INFO if deleted else logging.DEBUG,
        "deleted %d expired sessions in %.1f ms",
        deleted,
        seconds * 1000,
        extra={"event": "swept", "report": report},
    )


def _log_event(level: int, event: str, **keys: bytes) -> None:
    if logger.isEnabledFor(level):  # otherwise nothing is hashed, and OpenSSL is not loaded
        from hashlib import blake2b

        hashes = {name: blake2b(key, key=_key, digest_size=8).hexdigest() for name, key in keys.items()}
        logger.log(level, "session %s %s", hashes["session"], event, extra={"event": event, **hashes})
