"""Holding a store's locks without touching them."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from sled_sessions.stores.locks import KeyLocks


@contextmanager
def held_up(call: Callable[[Callable[..., object]], object]) -> Iterator[None]:
    """While the block runs, another thread is in this call: in the callback that it passes to a store.

    The callback returns its first argument.
    """
    inside, may_return = threading.Event(), threading.Event()

    def wait(*arguments: object) -> object:
        inside.set()
        assert may_return.wait(60)
        return arguments[0]

    thread = threading.Thread(target=call, args=(wait,))
    thread.start()
    assert inside.wait(20)
    try:
        yield
    finally:
        may_return.set()
        thread.join()


def holding(locks: KeyLocks, key: object) -> AbstractContextManager[None]:
    """While the block runs, another thread holds this key."""
    return held_up(lambda wait: locks.hold(key, wait, None))
