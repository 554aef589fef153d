"""Waiting for another thread or process that gives no signal when it is done."""

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress


def wait_until(
    check: Callable[[], object],
    *,
    seconds: float = 30,
    ignoring: type[Exception] | tuple[()] = (),
    failure: Callable[[], object] = lambda: "the condition did not become true",
) -> None:
    """Wait until `check` returns a true value without raising what is `ignoring`; `failure` makes the error message."""
    until = time.monotonic() + seconds
    while True:
        with suppress(ignoring):
            if check():
                return
        assert time.monotonic() < until, failure()
        time.sleep(0.01)


def waits_for(lock: AbstractContextManager[object], call: Callable[[], object]) -> bool:
    """Whether a thread making this call blocks while the lock is held, and finishes once it is released."""
    thread = threading.Thread(target=call)
    with lock:
        thread.start()
        thread.join(0.05)
        has_waited = thread.is_alive()
    thread.join(30)
    return has_waited and not thread.is_alive()
