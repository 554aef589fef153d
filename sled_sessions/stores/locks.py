"""Locks by key, for code that a signal handler or a finalizer may interrupt with another call on the same thread.

Python runs a handler between any two steps of a call, and a finalizer whenever it collects garbage. Either may call a
store, and must not wait there for the call that it interrupts: that one continues only when the handler has returned.
So a wait that could never end raises `WouldDeadlock`. A re-entrant lock instead would let the inner call change what
the outer one has read and is about to write.
"""

import os
from collections.abc import Callable, Hashable
from threading import Lock, Thread, get_ident
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar
from weakref import WeakSet

from sled_sessions.sled import _native

Turn: TypeAlias = list[Any]
"""One hold of a key, recognised by its identity: the thread's number, and then a lock for each thread that waits."""

ALL: Final = None
"""The key of the turn in which a thread holds every key."""

_RECHECK = 0.05
"""Seconds between two looks at what the other threads wait for, and the most that a missed `wake` costs."""

_T = TypeVar("_T")


class WouldDeadlock(RuntimeError):
    """Waiting would never end: this thread has what it would wait for, or it has what the thread there waits for.

    Attributes:
        locks: Where it would have waited.
    """

    def __init__(self, locks: "KeyLocks") -> None:
        super().__init__(
            "this call would wait for ever: a signal handler, a finalizer or a callback made it in the middle of "
            "another call, which must end first. Let the handler set a flag, and make the call after that one"
        )
        self.locks = locks


class KeyLocks:
    """Lets one thread at a time work on a key; work on different keys never waits.

    In a forked child all keys are free: a thread that held one when the process forked does not exist there.
    """

    def __init__(self) -> None:
        self.held: dict[Hashable, Turn] = {}
        _all.add(self)

    def hold(self, key: Hashable, work: Callable[..., _T], *arguments: object) -> _T:
        """Return `work(*arguments)`, called when no other thread works on this key.

        Ctrl-C at any moment leaves the key free: Python runs signal handlers only after calls and at the start of
        functions and loops, and `finally` has none of these before the key is free.

        Raises:
            WouldDeadlock: The call before this one on the same thread must end first; `work` was not called.
        """
        held, turn = self.held, [get_ident()]
        try:  # `IndexedTree.save` and `IndexedTree.swap` repeat these lines: two more calls are a twentieth of a save
            if held.setdefault(key, turn) is not turn or ALL in held:
                self.wait(key, turn)
            return work(*arguments)
        finally:
            if key in held and held[key] is turn:
                del held[key]
            if waits:
                wake(turn)

    def hold_all(self, work: Callable[[], _T]) -> _T:
        """Return `work()`, called when no other thread works on any key.

        Raises:
            WouldDeadlock: This thread holds a key; `work` was not called.
        """

        def alone() -> _T:
            mine = self.held[ALL]
            for key, other in list(self.held.items()):  # those that come later see ALL and withdraw
                if other is not mine:
                    self._outlast(key, other)
            return work()

        return self.hold(ALL, alone)

    def wait(self, key: Hashable, turn: Turn) -> None:
        """Return when `turn` is the one that holds the key."""
        while True:
            if (other := self.held.setdefault(key, turn)) is not turn:
                self._outlast(key, other)
            elif (other := self.held.get(ALL, turn)) is not turn:
                del self.held[key]
                wake(turn)
                self._outlast(ALL, other)
            else:
                return

    def _outlast(self, key: Hashable, turn: Turn) -> None:
        """Return when another turn is over."""
        me, lock = get_ident(), Lock()
        lock.acquire()
        before = waits.get(me)  # of the call that a handler has interrupted
        try:
            waits[me] = Wait(self, key, turn)
            turn.append(lock)
            while self.held.get(key) is turn:
                if _waits_for(me, turn[0]) and self.held.get(key) is turn:  # it may have let go before it waited
                    raise WouldDeadlock(self)
                if not lock.acquire(timeout=_RECHECK) and _native.in_transaction():
                    raise WouldDeadlock(self)  # the other thread may be waiting for the end of the transaction
        finally:
            if before is None:
                waits.pop(me, None)
            else:
                waits[me] = before


class Wait(NamedTuple):
    """What a thread waits for: the end of this turn."""

    locks: KeyLocks
    key: Hashable
    turn: Turn


waits: Final[dict[int, Wait]] = {}
"""What each waiting thread waits for."""


def wake(turn: Turn) -> None:
    """Wake the threads that wait for the end of this turn."""
    for lock in turn[1:]:
        if lock.locked():
            lock.release()


def join(thread: Thread) -> None:
    """Return when a thread has ended, or has to wait for this one.

    In a signal handler that is a thread waiting for the call that was interrupted, after which it ends; in a
    transaction's function, any that uses sled.
    """
    while thread.is_alive() and not _native.in_transaction() and not _waits_for(get_ident(), thread.ident):
        thread.join(_RECHECK)


_all: WeakSet[KeyLocks] = WeakSet()


def _waits_for(wanted: int, thread: int | None) -> bool:
    """Whether a thread is the wanted one, or waits for it, directly or through others."""
    passed: list[Wait] = []
    for _ in range(len(waits) + 1):  # those ahead may wait in a circle, which one of them is about to notice
        if thread == wanted:
            return all(wait.locks.held.get(wait.key) is wait.turn for wait in passed)  # the same as in `_outlast`
        if thread is None or (wait := waits.get(thread)) is None:
            return False
        if wait.locks.held.get(wait.key) is not wait.turn:  # over, and the thread about to go on
            return False
        passed.append(wait)
        thread = wait.turn[0]
    return False


def _free_all() -> None:
    waits.clear()
    for locks in list(_all):
        locks.held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_free_all)
