"""What a write waits for before it returns, and how writers that wait at the same time share one wait."""

import threading
from collections.abc import Callable
from functools import partial
from typing import Literal, TypeAlias, get_args

from sled_sessions import sled

Durability: TypeAlias = Literal["interval", "flush", "fsync"]
"""When a write returns, and what is lost of the writes that have returned:

- "interval": at once. sled writes its buffers to the file every `flush_every_ms` (half a second): that much is lost
  when the process is killed.
- "flush": when it is in the file. Nothing is lost when the process is killed.
- "fsync": when the disk has confirmed it. Nothing is lost, on a power cut neither, as long as records are below 8 KB
  (README says more under Durability).

What a killed process loses is the end: sled recovers everything up to some moment. A power cut is another matter: what
no fsync has covered may reach the disk in part and in any order, so that the database may be found damaged on opening.
"""


class _Flush:
    """A flush that has not begun, and those who wait for it at its lock; the first of them makes it."""

    def __init__(self) -> None:
        self.turn = threading.Lock()
        self.is_done = False


class GroupCommit:
    """Flushes for many writers at once: all that arrive while a flush is under way share the next one.

    Args:
        flush: Makes everything durable that was written before it is called.
    """

    def __init__(self, flush: Callable[[], object]) -> None:
        self._flush = flush
        self._flushing = threading.Lock()
        self._next = _Flush()

    @classmethod
    def of(cls, db: sled.Db, durability: Durability) -> "GroupCommit | None":
        """The group that the writers of a database wait for, or None when `durability` lets them return at once.

        Raises:
            ValueError: There is no such durability.
        """
        if durability not in get_args(Durability):
            raise ValueError(
                f"durability must be one of {', '.join(map(repr, get_args(Durability)))}, not {durability!r}"
            )
        return None if durability == "interval" else cls(partial(db.flush, fsync=durability == "fsync"))

    def wait(self) -> None:
        """Return when everything that the caller wrote before is durable.

        Raises:
            SledError: The flush failed; what was written may be lost in a crash. The next one who waits tries again.
        """
        ours = self._next  # the one that is running may have begun before the caller's write
        # Bare locks, each in a `with`: Ctrl-C never leaves one of these held, as it may a condition's.
        with ours.turn:
            if ours.is_done:
                return
            with self._flushing:
                if self._next is ours:  # it is another one's after a failure
                    self._next = _Flush()  # for those who write from now on
                self._flush()
                ours.is_done = True
