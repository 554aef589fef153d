"""Locks in a forked child: the thread that held one while the process forked is not there to let go of it."""

import os
import threading
from typing import Protocol
from weakref import WeakValueDictionary


class Locking(Protocol):
    """What has locks of its own."""

    def _renew_locks(self) -> None:
        """Make them, free."""


_all: WeakValueDictionary[int, Locking] = WeakValueDictionary()


def make_locks(owner: Locking) -> None:
    """Have the locks made, now and in each child that is forked while their owner lives."""
    owner._renew_locks()
    _all[id(owner)] = owner


class ModuleLock:
    """A module's lock; each `with` asks for `lock` anew."""

    def __init__(self) -> None:
        make_locks(self)

    def _renew_locks(self) -> None:
        self.lock = threading.Lock()


def _renew_all() -> None:
    for owner in list(_all.values()):
        owner._renew_locks()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
