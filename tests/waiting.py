"""Waiting for what another thread or process does, where nothing tells that it is done."""

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress


def wait_until(
    check: Callable[[], object],
    *,
    ignoring: type[Exception] | tuple[()] = (),
    what: Callable[[], object] = lambda: "it did not happen",
) -> None:
    """Wait until `check` is true, and raises nothing of what is ignored; `what` says what is there instead."""
    until = time.monotonic() + 30
    while True:
        with suppress(ignoring):
            if check():
                return
        assert time.monotonic() < until, what()
        time.sleep(0.01)


def waits_for(lock: AbstractContextManager[object], call: Callable[[], object]) -> bool:
    """Whether a thread that makes this call waits while the lock is held, and then comes to the end."""
    thread = threading.Thread(target=call)
    with lock:
        thread.start()
        thread.join(0.05)
        has_waited = thread.is_alive()
    thread.join(30)
    return has_waited and not thread.is_alive()
