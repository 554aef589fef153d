"""Sweeps in the background: on a thread, or as a task of an event loop."""

import logging
import random
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from datetime import datetime, timedelta
from functools import partial
from inspect import isawaitable, iscoroutinefunction
from queue import Empty, SimpleQueue
from typing import Any, Self, cast

from sled_sessions import events
from sled_sessions.errors import BackendError
from sled_sessions.records import Record
from sled_sessions.stores.clock import clock_of
from sled_sessions.stores.locks import join
from sled_sessions.stores.protocol import AsyncSessionStore, SessionStore, check_store, is_async
from sled_sessions.stores.sled import SledStore
from sled_sessions.stores.sweep import OnExpired, SweepOptions, SweepReport, SweepStrategy
from sled_sessions.stores.wrapped import attribute_of

_log = logging.getLogger(__name__)

_SLICE = timedelta(milliseconds=50)
"""A long sweep runs in slices of this length, so that `stop` never waits for its end."""


class Sweeper:
    """Deletes a store's expired sessions once per period, until it is stopped.

    The first sweep comes after one period. A sweep is skipped while the store's `first_expiry`, if it has that method,
    says that nothing is due. A sweep that raises is logged, and the next one runs as usual. Starting opens a store of
    `SledStore.at` that is new, and one that is closed for as long as the sweeper runs.

        with Sweeper(store, timedelta(minutes=1)):  # on a thread
            ...
        task = asyncio.create_task(Sweeper(store, timedelta(minutes=1)).run())  # or on the event loop

    Args:
        store: The store to sweep, or anything with its `delete_expired`; an `AsyncSessionStore` needs `run`.
        period: The time between two sweeps, a positive `timedelta` or seconds.
        jitter: How far each wait may differ from the period, as a fraction of it from 0 to 1, so that programs that
            started together do not sweep together.
        strategy: How to find expired sessions; None is the store's own way.
        on_sweep: Called with the report of each sweep.
        on_expired: Called with the `Record` of each session after it was deleted, to remove what the app keeps for it
            elsewhere, such as uploads: on the sweeper's thread, or for an asyncio store on the event loop. What it
            raises is logged, and the sweep continues. A sweep takes longer by the calls and by some microseconds for
            decoding each record. It is not called for sessions that were ended, nor again for those that a crash came
            between, nor for a server's (Valkey, Redis), which expire without notice.

    Raises:
        TypeError: `store` is not a store, or `on_expired` is a coroutine function.
        ValueError: `period` is not positive, `jitter` is not from 0 to 1, or `strategy` is unknown.
    """

    def __init__(
        self,
        store: SessionStore | AsyncSessionStore,
        period: timedelta | float,
        *,
        jitter: float = 0.1,
        strategy: SweepStrategy | None = None,
        on_sweep: Callable[[SweepReport], object] | None = None,
        on_expired: OnExpired | None = None,
    ) -> None:
        check_store(store, "delete_expired")
        if iscoroutinefunction(on_expired):
            raise TypeError("on_expired must be an ordinary function: a sweep does not await it")
        self.store = store
        self.period = period if isinstance(period, timedelta) else timedelta(seconds=period)
        if self.period <= timedelta(0):
            raise ValueError("period must be longer than zero")
        if not 0 <= jitter <= 1:
            raise ValueError("jitter is a fraction of the period, from 0 to 1")
        self.jitter = jitter
        self._strategy = None if strategy is None else SweepStrategy(strategy)
        self._on_sweep = on_sweep
        self._options: SweepOptions = {"budget": _SLICE}
        if on_expired is not None:
            self._options["on_expired"] = _never_raising(on_expired)
        self._is_stopped = False
        self._stops: SimpleQueue[None] = SimpleQueue()  # wakes the thread; an Event's lock would block signal handlers
        self._thread: threading.Thread | None = None
        self._wake: Callable[[], object] | None = None

    def start(self) -> None:
        """Start sweeping on a daemon thread.

        Raises:
            RuntimeError: It is running already.
            TypeError: The store is asynchronous: await `run` instead.
        """
        if self._thread is not None:
            raise RuntimeError("this sweeper is running already")
        if is_async(self.store, "delete_expired"):
            raise TypeError("an asynchronous store is swept on its event loop: await sweeper.run()")
        self._stops = SimpleQueue()
        with ExitStack() as stack:
            stack.enter_context(_opened(self.store))
            run = partial(self._run_in_thread, self._stops, stack.pop_all())
        self._thread = thread = threading.Thread(target=run, name="sled_sessions sweeper", daemon=True)
        thread.start()

    def stop(self) -> None:
        """End the thread, or `run`, at once or after the current slice of a sweep (50 ms).

        May be called by a signal handler. When the slice has to wait for a call that the handler has interrupted, this
        returns first, and the thread ends after that call.
        """
        self._is_stopped = True
        self._stops.put(None)
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():  # `on_sweep` may call this
            join(thread)
        if (wake := self._wake) is not None:
            try:
                wake()
            except RuntimeError:  # its event loop was closed, which ended `run`
                self._wake = None

    def __repr__(self) -> str:
        return f"Sweeper({self.store!r}, {self.period!r})"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def run(self) -> Coroutine[Any, Any, None]:
        """Sweep until the task is cancelled or `stop` is called; a blocking store is swept in asyncio's thread pool.

        Raises:
            RuntimeError: When awaited: it is running already.
        """
        self._is_stopped = False  # here rather than in the task, so that a `stop` before its first step counts
        return self._run_in_loop()

    async def _run_in_loop(self) -> None:
        import asyncio  # here, since it is half of what importing this package costs

        if self._wake is not None:
            raise RuntimeError("this sweeper is running already")
        stopped = asyncio.Event()
        self._wake = partial(asyncio.get_running_loop().call_soon_threadsafe, stopped.set)
        try:
            if self._is_stopped:
                return
            with _opened(self.store):
                while not self._is_stopped:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(stopped.wait(), self._wait_seconds())
                        return
                    with _logged():
                        reports: list[SweepReport] = []
                        while not self._is_stopped and await self._goes_on_in_loop(reports):
                            if is_async(self.store, "delete_expired"):
                                reports.append(await self.store.delete_expired(self._strategy, **self._options))
                                await asyncio.sleep(0)  # the sweep itself may never have suspended
                            else:
                                reports.append(await asyncio.to_thread(self._sweep_slice))
                        self._tell(reports)
        finally:
            self._wake = None

    def _run_in_thread(self, stops: "SimpleQueue[None]", opened: ExitStack) -> None:
        me = threading.current_thread()
        with opened:
            while self._thread is me:  # `on_sweep` may have replaced it
                with suppress(Empty):
                    stops.get(timeout=self._wait_seconds())
                    return
                with _logged():
                    reports: list[SweepReport] = []
                    while self._thread is me and self._goes_on(reports):
                        reports.append(self._sweep_slice())
                    self._tell(reports)

    def _sweep_slice(self) -> SweepReport:
        return cast("SessionStore", self.store).delete_expired(self._strategy, **self._options)

    def _goes_on(self, reports: list[SweepReport]) -> bool:
        """Whether there is another slice to sweep, or, before the first one, whether a sweep may find anything."""
        if reports:
            return not reports[-1].complete
        with suppress(BackendError):  # which the sweep will raise, too
            return not self._has_index() or self._has_come(cast("Any", self.store).first_expiry())
        return True

    async def _goes_on_in_loop(self, reports: list[SweepReport]) -> bool:
        if not is_async(self.store, "delete_expired"):
            import asyncio

            return await asyncio.to_thread(self._goes_on, reports)
        if reports:
            return not reports[-1].complete
        with suppress(BackendError):
            if self._has_index():
                first = cast("Any", self.store).first_expiry()
                return self._has_come(await first if isawaitable(first) else first)
        return True

    def _has_index(self) -> bool:
        """Whether `first_expiry` costs less than the sweep; a `SledStore` without an index would read every record."""
        store = self.store
        if self._strategy is SweepStrategy.FULL_SCAN or (isinstance(store, SledStore) and store.resolution is None):
            return False
        return callable(getattr(store, "first_expiry", None))

    def _has_come(self, first: datetime | None) -> bool:
        return first is not None and first <= clock_of(self.store)()

    def _tell(self, reports: list[SweepReport]) -> None:
        if not reports:
            return
        report = SweepReport(
            reports[0].strategy,
            examined=sum(each.examined for each in reports),
            deleted=sum(each.deleted for each in reports),
            undecodable=sum(each.undecodable for each in reports),
            seconds=sum(each.seconds for each in reports),
            complete=reports[-1].complete,
        )
        if report.strategy is None and self._options.pop("on_expired", None) is not None:
            _log.warning("on_expired will not be called: the store's server deletes expired sessions without notice")
        events.swept(report, report.deleted, report.seconds)
        if self._on_sweep is not None:
            self._on_sweep(report)

    def _wait_seconds(self) -> float:
        spread = random.uniform(-self.jitter, self.jitter)  # noqa: S311 - not a secret
        return min(self.period.total_seconds() * (1 + spread), threading.TIMEOUT_MAX)


def _opened(store: object) -> AbstractContextManager[object]:
    """While a sweeper runs: what opens the store, or the store that it wraps, if that is one of `SledStore.at`."""
    opened = attribute_of(store, "opened")
    return nullcontext() if opened is None else opened()


@contextmanager
def _logged() -> Iterator[None]:
    """Log what a sweep raises, so that the next one runs."""
    try:
        yield
    except Exception:  # noqa: BLE001 - whatever it was, the next sweep may succeed
        _log.exception("a sweep failed; the next one will run as usual")


def _never_raising(on_expired: OnExpired) -> OnExpired:
    """Log what the function raises, so that the sweep continues."""

    def call(record: Record) -> None:
        try:
            on_expired(record)
        except Exception:  # noqa: BLE001 - whatever it was, the other sessions are due all the same
            _log.exception("on_expired failed for a session; the sweep continues")

    return call
