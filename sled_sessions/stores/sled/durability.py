"""What a write waits for before it returns, and how concurrent writers share one wait."""

from collections.abc import Callable
from functools import partial
from typing import Literal, TypeAlias, get_args

from sled_sessions import sled
from sled_sessions.stores.locks import KeyLocks, WouldDeadlock

Durability: TypeAlias = Literal["interval", "flush", "fsync"]
"""When a write returns, and which of the writes that have returned may be lost:

- "interval": at once. sled writes its buffers to the file every `flush_every_ms`: that much is lost when the process is
  killed. `SledStore.at` and `SledStore.open` set a tenth of a second; `sled.open`'s default is half a second.
- "flush": once it is in the file. Nothing is lost when the process is killed.
- "fsync": once the disk has confirmed it. Nothing is lost, not even in a power cut, as long as records are below 8 KB.

A killed process loses the most recent writes: sled recovers everything up to some moment. A power cut is different:
writes that no fsync has covered may reach the disk partly and in any order, so that the database may be found damaged
on opening. `stores/README.md` has the details.
"""


def checked_durability(durability: Durability) -> Durability:
    """Return `durability`; ValueError if it is unknown."""
    if durability not in get_args(Durability):
        raise ValueError(f"durability must be one of {', '.join(map(repr, get_args(Durability)))}, not {durability!r}")
    return durability


class _Flush:
    """A flush that has not started, and the key on which its waiters queue; the first of them performs it."""

    is_done = False


class GroupCommit:
    """Flushes for many writers at once: all that arrive during a flush share the next one."""

    def __init__(self, flush: Callable[[], object]) -> None:
        self._flush = flush
        self._locks = KeyLocks()
        self._next = _Flush()

    @classmethod
    def of(cls, db: sled.Db, durability: Durability) -> "GroupCommit | None":
        """The group for a database's writers; None if `durability` lets them return at once."""
        return None if durability == "interval" else cls(partial(db.flush, fsync=durability == "fsync"))

    def wait(self) -> None:
        """Return when everything that the caller wrote before is durable.

        Raises:
            SledError: The flush failed; what was written may be lost in a crash. The next waiter tries again.
        """
        ours = self._next  # not the running flush, which may have started before the caller's write
        try:
            self._locks.hold(ours, self._lead, ours)
        except WouldDeadlock as error:
            if error.locks is not self._locks:
                raise
            self._flush()  # the call interrupted by this one leads the group; a flush beside it does no harm

    def _lead(self, ours: _Flush) -> None:
        if not ours.is_done:
            self._locks.hold(self, self._perform, ours)

    def _perform(self, ours: _Flush) -> None:
        if self._next is ours:  # after a failed flush it is a newer one
            self._next = _Flush()  # for writes from here on
        self._flush()
        ours.is_done = True
