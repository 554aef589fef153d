"""Sweeps in the background: on a thread, or as a task of an event loop."""

import logging
import random
import threading
from collections.abc import Callable
from datetime import timedelta
from inspect import iscoroutinefunction
from types import TracebackType
from typing import Any, Self

import attrs

from sled_sessions.stores.clock import utc_now
from sled_sessions.stores.protocol import AsyncSessionStore, SessionStore
from sled_sessions.stores.sweep import SweepReport, SweepStrategy

_log = logging.getLogger(__name__)

_SLICE = timedelta(milliseconds=50)
"""A long sweep runs in slices, so that `stop` never waits for the end of it."""


class Sweeper:
    """Deletes a store's expired sessions once in a period, until it is stopped.

    The first sweep comes after one period. A period in which the index says that nothing is due is passed over. A
    sweep that raises is logged, and the next one still runs.

        with Sweeper(store, timedelta(minutes=1)):      # on a thread of its own
            ...
        task = asyncio.create_task(Sweeper(store, timedelta(minutes=1)).run())  # or on the event loop

    Args:
        store: The store to sweep; an `AsyncSessionStore` needs `run`.
        period: The time between two sweeps, a positive `timedelta` or seconds.
        jitter: How far each wait may be from the period, as a part of it from 0 to 1, so that several programs that
            started together do not sweep together.
        strategy: How to find expired sessions; None is the store's own way.
        on_sweep: Called with the report of each sweep that deleted something or met what it could not read.

    Raises:
        ValueError: `period` is not positive, or `jitter` is not from 0 to 1.
    """

    def __init__(
        self,
        store: SessionStore | AsyncSessionStore,
        period: timedelta | float,
        *,
        jitter: float = 0.1,
        strategy: SweepStrategy | None = None,
        on_sweep: Callable[[SweepReport], object] | None = None,
    ) -> None:
        self.store = store
        self.period = period if isinstance(period, timedelta) else timedelta(seconds=period)
        if self.period <= timedelta(0):
            msg = "period must be longer than zero"
            raise ValueError(msg)
        if not 0 <= jitter <= 1:
            msg = "jitter is a part of the period, from 0 to 1"
            raise ValueError(msg)
        self.jitter = jitter
        self._strategy = strategy
        self._on_sweep = on_sweep
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start sweeping on a daemon thread.

        Raises:
            RuntimeError: It is running already.
            TypeError: The store is asynchronous; await `run` instead.
        """
        if self._thread is not None:
            msg = "this sweeper is running already"
            raise RuntimeError(msg)
        if iscoroutinefunction(self.store.delete_expired):
            msg = "an asynchronous store is swept on its event loop: await sweeper.run()"
            raise TypeError(msg)
        self._stopped.clear()
        self._thread = threading.Thread(target=self._run_in_thread, name="sled_sessions sweeper", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, or `run`: at once, or after the slice of a sweep (50 ms) that is under way."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    async def run(self) -> None:
        """Sweep until the task is cancelled or `stop` is called; a blocking store is swept in asyncio's thread pool."""
        import asyncio  # only here: it would be half of what importing this package costs

        ...

    def _run_in_thread(self) -> None:
        while not self._stopped.wait(self._wait_seconds()):
            ...
