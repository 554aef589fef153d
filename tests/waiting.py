"""Waiting for what another thread or process does, where nothing tells that it is done."""

import time
from collections.abc import Callable
from contextlib import suppress


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
