"""What a write waits for before it returns, and how concurrent writers share one wait."""

import threading
from collections.abc import Callable
from functools import partial
from typing import Literal, TypeAlias, get_args

from sled_sessions import sled

Durability: TypeAlias = Literal["interval", "flush", "fsync"]
"""When a write returns, and which of the writes that have returned may be lost:

- "interval": at once. sled writes its buffers to the file every `flush_every_ms` (half a second): that much is lost
  when the process is killed.
- "flush": once it is in the file. Nothing is lost when the process is killed.
- "fsync": once the disk has confirmed it. Nothing is lost, not even in a power cut, as long as records are below 8 KB.

A killed process loses the most recent writes: sled recovers everything up to some moment. A power cut is different:
writes that no fsync has covered may reach the disk partly and in any order, so that the database may be found damaged
on opening. `stores/README.md` has the details.
"""


class _Flush:
    """A flush that has not started, and the lock at which its waiters queue; the first of them performs it."""

    def __init__(self) -> None:
        self.turn = threading.Lock()
        self.is_done = False


class GroupCommit:
    """Flushes for many writers at once: all that arrive during a flush share the next one."""

    def __init__(self, flush: Callable[[], object]) -> None:
        self._flush = flush
        self._flushing = threading.Lock()
        self._next = _Flush()

    @classmethod
    def of(cls, db: sled.Db, durability: Durability) -> "GroupCommit | None":
        """The group for a database's writers; None if `durability` lets them return at once.

        Raises:
            ValueError: Unknown `durability`.
        """
        if durability not in get_args(Durability):
            raise ValueError(
                f"durability must be one of {', '.join(map(repr, get_args(Durability)))}, not {durability!r}"
            )
        return None if durability == "interval" else cls(partial(db.flush, fsync=durability == "fsync"))

    def wait(self) -> None:
        """Return when everything that the caller wrote before is durable.

        Raises:
            SledError: The flush failed; what was written may be lost in a crash. The next waiter tries again.
        """
        ours = self._next  # not the running flush, which may have started before the caller's write
        # Plain locks, each in a `with`: unlike a condition's lock, they are released whenever Ctrl-C comes.
        with ours.turn:
            if ours.is_done:
                return
            with self._flushing:
                if self._next is ours:  # after a failed flush it is a newer one
                    self._next = _Flush()  # for writes from here on
                self._flush()
                ours.is_done = True
