"""What happens to sessions, told to `logging` as structured events, with hashes in the place of ids.

Each event is a record of the logger `sled_sessions.events` with these attributes, which a JSON formatter can show:

- `event`: "created", "rotated" (a new id, as by `cycle_id`), "deleted" (a log-out), "expired" (deleted by a sweep, but
  for that of a `CachingStore`'s cache; at level DEBUG, all others are INFO) or "swept".
- `session`: the session's hash (16 hexadecimal digits), except for "swept"; `was` with "rotated": that of the old id.
- `report` with "swept": the `SweepReport`.

Who holds an id holds the session, so ids are never logged. The hash is keyed: it tells events of one session from
those of others and gives nothing away. The key is drawn anew in each process; `set_key` makes several agree.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from sled_sessions.errors import DecodeError
from sled_sessions.records import Id, Record, codec
from sled_sessions.records.expiry import ENDED
from sled_sessions.stores.sweep import OnExpired, SweepReport

logger = logging.getLogger("sled_sessions.events")
_log = logging.getLogger(__name__)
_ENDED = codec.to_microseconds(ENDED)

_key = os.urandom(32)

_is_of_copies: ContextVar[bool] = ContextVar("sled_sessions_sweeps_copies", default=False)


def set_key(key: bytes) -> None:
    """Hash ids with this key from now on: the same secret in several processes gives a session the same hash in all.

    Raises:
        TypeError: The key is no bytes.
        ValueError: It has less than 16 of them, or more than 64.
    """
    global _key
    if not isinstance(key, bytes):
        raise TypeError(f"the key must be bytes, not {type(key).__name__}")
    if not 16 <= len(key) <= 64:
        raise ValueError("the key must have 16 to 64 bytes")
    _key = key


def created(id: Id) -> None:
    """A session was stored for the first time."""
    _tell(logging.INFO, "created", session=id.key)


def rotated(old: Id, new: Id) -> None:
    """A session goes on under a new id."""
    _tell(logging.INFO, "rotated", session=new.key, was=old.key)


def deleted(id: Id) -> None:
    """A session was ended."""
    _tell(logging.INFO, "deleted", session=id.key)


def expired(key: bytes, value: bytes, on_expired: OnExpired | None) -> None:
    """A sweep deleted what lay under this key; `on_expired` is told as well.

    Neither hears of what a log-out or a new id has left for deletion: the one has had its event, the other lives on.
    """
    if codec.decode_expiry(value) == _ENDED:
        return
    if wants_expired():
        _tell(logging.DEBUG, "expired", session=key)
    if on_expired is not None:
        try:
            record = Record.decode(value)
        except DecodeError:
            _log.warning("a sweep deleted an expired session whose data could not be read, and told nobody")
        else:
            on_expired(record)


def wants_expired() -> bool:
    """Whether anybody listens to `expired`, which a sweep need not ask for each session."""
    return not _is_of_copies.get() and logger.isEnabledFor(logging.DEBUG)


@contextmanager
def sweeping_copies() -> Iterator[None]:
    """Tell nobody of `expired` meanwhile: the session itself may live on, or has its event where it is swept."""
    token = _is_of_copies.set(True)
    try:
        yield
    finally:
        _is_of_copies.reset(token)


def swept(report: SweepReport) -> None:
    """A sweep has ended."""
    logger.log(
        logging.INFO if report.deleted else logging.DEBUG,
        "deleted %d expired sessions in %.1f ms",
        report.deleted,
        report.seconds * 1000,
        extra={"event": "swept", "report": report},
    )


def _tell(level: int, event: str, **keys: bytes) -> None:
    if logger.isEnabledFor(level):  # or nothing is hashed, and OpenSSL is not loaded
        from hashlib import blake2b

        hashes = {name: blake2b(key, key=_key, digest_size=8).hexdigest() for name, key in keys.items()}
        logger.log(level, "session %s %s", hashes["session"], event, extra={"event": event, **hashes})
