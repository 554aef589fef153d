"""Locks for the writers of a key, which a forked child gets free."""

import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeAlias, TypeVar
from weakref import WeakSet

Lock: TypeAlias = AbstractContextManager[object]

STRIPES = 64
"""How many locks the writers of a store share, unless it says otherwise."""

_T = TypeVar("_T")


class StripedLock:
    """Locks for keys: writers of one key take turns, and writers of others rarely wait for them.

    In a forked child they are replaced by free ones: a thread that held one when the process forked does not exist
    there to release it. `kind` makes a lock: `threading.Lock` or `threading.RLock`.
    """

    def __init__(
        self, stripes: int = STRIPES, kind: Callable[[], AbstractContextManager[object]] = threading.Lock
    ) -> None:
        self._kind = kind
        self._renew(stripes)
        _all.add(self)

    def of(self, key: bytes = b"") -> Lock:
        """The lock of a key, to be used in a `with` at once."""
        return self.stripes[key[-1] % len(self.stripes) if key else 0]  # every byte of an id is random

    def all(self, work: Callable[[], _T], _held: int = 0) -> _T:
        """Do this while holding every lock.

        Nested `with` statements rather than a loop of `acquire`: Ctrl-C then never leaves a lock held.
        """
        if _held == len(self.stripes):
            return work()
        with self.stripes[_held]:
            return self.all(work, _held + 1)

    def _renew(self, stripes: int) -> None:
        self.stripes = tuple(self._kind() for _ in range(stripes))


_all: WeakSet[StripedLock] = WeakSet()


def _renew_all() -> None:
    for lock in list(_all):
        lock._renew(len(lock.stripes))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
