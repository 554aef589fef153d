"""The Sweeper, on a thread and on an event loop."""

import asyncio
import logging
import threading
from datetime import timedelta

import pytest

from sled_sessions import AsyncStore, BackendError, MemoryStore, SledStore, Sweeper, SweepReport, SweepStrategy
from sled_sessions.stores.clock import utc_now

PERIOD = timedelta(milliseconds=20)
PATIENCE = 20  # seconds until a test that waits fails


@pytest.fixture(autouse=True)
def _log_all(caplog):
    caplog.set_level(logging.DEBUG, "sled_sessions")


@pytest.fixture(params=["memory", "sled", "sled-full-scan"])
def store(request, db, clock):
    if request.param == "memory":
        return MemoryStore(clock=clock)
    strategy = SweepStrategy.FULL_SCAN if request.param == "sled-full-scan" else SweepStrategy.EXPIRY_INDEX
    return SledStore(db.open_tree("session"), clock=clock, strategy=strategy)


class Swept:
    """An `on_sweep` callback that sets `event` after the first sweep that deletes something."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.reports: list[SweepReport] = []

    def __call__(self, report: SweepReport) -> None:
        self.reports.append(report)
        if report.deleted:
            self.event.set()


class FailsTwice:
    """A store whose first two sweeps raise."""

    def __init__(self, store) -> None:
        self.store, self.calls = store, 0

    def delete_expired(self, strategy=None, **options):
        self.calls += 1
        if self.calls <= 2:
            message = "the disk is gone"
            raise BackendError(message)
        return self.store.delete_expired(strategy, **options)


def test_sweeps_on_a_thread(store, new_record, caplog):
    """On a thread, expired sessions are deleted and logged, and live ones stay."""
    live, swept = new_record(60), Swept()
    store.save(live)
    store.save(new_record(-1))
    with Sweeper(store, PERIOD, on_sweep=swept):
        assert swept.event.wait(PATIENCE)
    assert store.count() == 1
    assert store.load(live.id) == live
    assert any("deleted 1 expired sessions" in record.message for record in caplog.records)


def test_sweeps_on_an_event_loop(store, new_record):
    """`run` sweeps until its task is cancelled."""
    store.save(new_record(-1))
    swept = Swept()

    async def main():
        task = asyncio.create_task(Sweeper(store, PERIOD, on_sweep=swept).run())
        assert await asyncio.to_thread(swept.event.wait, PATIENCE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert store.count() == 0


def test_sweeps_an_async_store(clock, new_record):
    """`run` sweeps an asyncio store on its event loop, and `stop` ends it from another thread."""
    store = MemoryStore(clock=clock)
    store.save(new_record(-1))
    swept = Swept()
    sweeper = Sweeper(AsyncStore(store), PERIOD, on_sweep=swept)
    with pytest.raises(TypeError, match="run"):
        sweeper.start()

    def stop():
        assert swept.event.wait(PATIENCE)
        sweeper.stop()

    thread = threading.Thread(target=stop)
    thread.start()
    asyncio.run(asyncio.wait_for(sweeper.run(), PATIENCE))
    thread.join()
    assert store.count() == 0


def test_event_loop_runs_between_slices():
    """Other tasks run after each slice of a sweep, even if the asyncio store never suspends."""
    turns, options = [], set()

    class Inline:
        async def delete_expired(self, strategy=None, *, budget=None):
            turns.append("sweep")
            options.add((strategy, budget))
            return SweepReport(SweepStrategy.FULL_SCAN, complete=turns.count("sweep") == 10)

    async def main():
        done = asyncio.Event()
        sweeper = Sweeper(Inline(), PERIOD, strategy=SweepStrategy.FULL_SCAN, on_sweep=lambda report: done.set())
        task = asyncio.create_task(sweeper.run())
        while not done.is_set():
            await asyncio.sleep(0)
            if turns and turns[-1] == "sweep":
                turns.append("other")
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(main())
    assert turns[:18] == ["sweep", "other"] * 9
    ((strategy, budget),) = options
    assert strategy is SweepStrategy.FULL_SCAN
    assert budget <= timedelta(seconds=1)


def test_the_first_sweep_comes_after_one_period(store, new_record):
    """The first sweep runs after one period, so programs that start together do not all sweep at once."""
    store.save(new_record(-1))
    with Sweeper(store, timedelta(hours=1)):
        pass
    assert store.count() == 1


class NeverComplete(MemoryStore):
    """A store whose sweeps are never complete."""

    def __init__(self):
        super().__init__()
        self.started, self.threads = threading.Event(), set()

    def delete_expired(self, strategy=None, *, budget=None, **options):
        assert strategy is SweepStrategy.FULL_SCAN
        assert budget <= timedelta(seconds=1)
        self.threads.add(threading.current_thread())
        self.started.set()
        return SweepReport(SweepStrategy.FULL_SCAN, complete=False)


def test_stop_is_prompt():
    """`stop` waits neither for the period to pass nor for a long sweep to end."""
    store, reports = NeverComplete(), []
    with Sweeper(store, PERIOD, strategy=SweepStrategy.FULL_SCAN, on_sweep=reports.append):
        assert store.started.wait(PATIENCE)
    assert not reports[0].complete
    for period in (timedelta(days=1), timedelta.max):
        with Sweeper(store, period):
            pass


def test_stop_is_prompt_on_an_event_loop():
    """`run` sweeps a blocking store outside the event loop's thread, and `stop` ends that, too."""
    store = NeverComplete()

    async def main():
        sweeper = Sweeper(store, PERIOD, strategy=SweepStrategy.FULL_SCAN)
        running = asyncio.create_task(sweeper.run())
        await asyncio.to_thread(store.started.wait, PATIENCE)
        sweeper.stop()
        await asyncio.wait_for(running, PATIENCE)

    asyncio.run(main())
    assert store.threads
    assert threading.main_thread() not in store.threads


def test_stop_before_the_first_step(store):
    """A `stop` before the task of `run` has started is not lost."""

    async def main():
        sweeper = Sweeper(store, timedelta(hours=1))
        running = sweeper.run()
        sweeper.stop()
        await asyncio.wait_for(running, PATIENCE)

    asyncio.run(main())


def test_failed_sweep_is_logged(clock, new_record, caplog):
    """A sweep that raises is logged with its traceback, and the next sweep still runs."""
    store = MemoryStore(clock=clock)
    store.save(new_record(-1))
    swept = Swept()
    with Sweeper(FailsTwice(store), PERIOD, on_sweep=swept):
        assert swept.event.wait(PATIENCE)
    failures = [record for record in caplog.records if record.exc_info]
    assert len(failures) == 2
    assert all("the disk is gone" in str(record.exc_info[1]) for record in failures)


def test_report_adds_up_all_slices():
    """`on_sweep` gets one report that adds up all slices of the sweep."""
    slices = [SweepReport(SweepStrategy.FULL_SCAN, 5, 3, 1, 0.5, complete=is_last) for is_last in (False, False, True)]

    class Sliced:
        def delete_expired(self, strategy=None, *, budget=None):
            return slices.pop(0)

    swept = Swept()
    with Sweeper(Sliced(), PERIOD, on_sweep=swept):
        assert swept.event.wait(PATIENCE)
    assert swept.reports[0] == SweepReport(SweepStrategy.FULL_SCAN, 15, 9, 3, 1.5)


@pytest.mark.parametrize("make", [lambda store: store, AsyncStore], ids=["blocking", "async"])
def test_on_expired(store, make, clock, new_record, caplog):
    """`on_expired` gets each record that a sweep deleted, and what it raises is logged and stops nothing."""
    live, expired = new_record(60), [new_record(-n, upload=f"{n}.png") for n in (1, 2, 3)]
    for record in (live, *expired):
        store.save(record)
    swept, seen = Swept(), []

    def clean_up(record):
        assert store.load(record.id) is None
        seen.append(record.data["upload"])
        if len(seen) == 2:
            raise OSError("no such file")

    async def main():
        task = asyncio.create_task(Sweeper(make(store), PERIOD, on_sweep=swept, on_expired=clean_up).run())
        assert await asyncio.to_thread(swept.event.wait, PATIENCE)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(main())
    assert sorted(seen) == ["1.png", "2.png", "3.png"]
    assert list(store.records()) == [live]
    (failure,) = (record for record in caplog.records if record.exc_info)
    assert "no such file" in str(failure.exc_info[1])
    store.save(new_record(-1, upload="4.png"))
    swept.event.clear()
    with Sweeper(store, PERIOD, on_sweep=swept, on_expired=clean_up):
        assert swept.event.wait(PATIENCE)
    assert seen[3:] == ["4.png"]


def test_on_expired_must_be_an_ordinary_function(store):
    """A coroutine function, which no sweep would await, is refused."""

    async def clean_up(record): ...

    with pytest.raises(TypeError, match="ordinary function"):
        Sweeper(store, PERIOD, on_expired=clean_up)


def test_on_expired_for_a_server_that_deletes_by_itself(caplog):
    """The first sweep of such a store logs that `on_expired` is not going to be called."""
    swept = threading.Event()
    reports = []

    class Served:
        async def delete_expired(self, strategy=None, **options):
            return SweepReport(strategy=None)

    def note(report):
        reports.append(report)
        if len(reports) == 3:
            swept.set()

    async def main():
        task = asyncio.create_task(Sweeper(Served(), PERIOD, on_sweep=note, on_expired=print).run())
        assert await asyncio.to_thread(swept.wait, PATIENCE)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(main())
    assert len([record for record in caplog.records if "on_expired will not be called" in record.message]) == 1


class ImpatientLoop(asyncio.SelectorEventLoop):
    """An event loop that records the length of its timers and fires them at once."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def call_at(self, when, callback, *arguments, context=None):
        self.seconds.append(when - self.time())
        return super().call_at(self.time(), callback, *arguments, context=context)


def test_jitter():
    """The waits differ, and spread from the period minus its jitter to the period plus it."""
    sweeps = []

    class Counting:
        async def delete_expired(self, strategy=None, *, budget=None):
            sweeps.append(None)
            if len(sweeps) == 100:
                sweeper.stop()
            return SweepReport(SweepStrategy.FULL_SCAN)

    sweeper = Sweeper(Counting(), 10, jitter=0.5)
    with asyncio.Runner(loop_factory=ImpatientLoop) as runner:
        runner.run(sweeper.run())
        waits = runner.get_loop().seconds
    assert len(set(waits)) == len(waits) == 100
    assert 4.99 < min(waits) < 9
    assert 11 < max(waits) <= 15


def test_no_sweep_before_the_first_expiry(clock, new_record, caplog):
    """No sweep runs while the index has nothing due; one runs once the first expiry has passed."""
    store = MemoryStore(clock=clock)
    store.save(new_record(100))
    idle, swept = threading.Event(), Swept()
    looks = 0

    def first_expiry():
        nonlocal looks
        looks += 1
        if looks == 3:
            idle.set()
        return MemoryStore.first_expiry(store)

    store.first_expiry = first_expiry
    with Sweeper(store, PERIOD, on_sweep=swept):
        assert idle.wait(PATIENCE)
        assert swept.reports == []
        assert not [record for record in caplog.records if record.exc_info]
        clock.move(timedelta(seconds=100))
        assert swept.event.wait(PATIENCE)


class ThirdParty:
    """A store from elsewhere, with a `first_expiry` but no clock."""

    def __init__(self, idle):
        self.first, self.idle, self.looks, self.sweeps = utc_now() + timedelta(hours=1), idle, 0, 0

    def first_expiry(self):
        self.looks += 1
        if self.looks == 3:
            self.idle.set()
        return self.first

    def delete_expired(self, strategy=None, **options):
        self.sweeps += 1
        return SweepReport(SweepStrategy.FULL_SCAN, deleted=1)


class AsyncThirdParty(ThirdParty):
    async def first_expiry(self):
        return super().first_expiry()

    async def delete_expired(self, strategy=None, **options):
        return super().delete_expired()


@pytest.mark.parametrize("kind", [ThirdParty, AsyncThirdParty])
def test_first_expiry_of_any_store(kind):
    """A store of any class is not swept before its own `first_expiry`, awaited or not."""
    idle, swept = threading.Event(), Swept()
    store = kind(idle)

    async def main():
        task = asyncio.create_task(Sweeper(store, PERIOD, on_sweep=swept).run())
        assert await asyncio.to_thread(idle.wait, PATIENCE)
        assert store.sweeps == 0
        store.first = utc_now()
        assert await asyncio.to_thread(swept.event.wait, PATIENCE)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(main())
    if kind is ThirdParty:
        store.first, swept = utc_now(), Swept()
        with Sweeper(store, PERIOD, on_sweep=swept):
            assert swept.event.wait(PATIENCE)


def test_second_start_is_refused(store):
    """A second `start` raises RuntimeError; after `stop` the sweeper can be started again."""
    sweeper = Sweeper(store, PERIOD)
    for _ in range(2):
        sweeper.start()
        with pytest.raises(RuntimeError, match="running"):
            sweeper.start()
        sweeper.stop()
    sweeper.stop()


def test_second_run_is_refused(store):
    """A second `run` raises RuntimeError; `stop` ends the first, even before its first step."""

    async def main():
        sweeper = Sweeper(store, PERIOD)
        for seconds in (0, 0.01):
            task = asyncio.create_task(sweeper.run())
            await asyncio.sleep(seconds)
            if seconds:
                with pytest.raises(RuntimeError, match="running"):
                    await sweeper.run()
            sweeper.stop()
            await asyncio.wait_for(task, PATIENCE)

    asyncio.run(main())


def test_stop_after_a_cancelled_run(store):
    """`stop` does nothing when the task was cancelled and its event loop is closed."""
    sweeper = Sweeper(store, PERIOD)

    async def main():
        task = asyncio.create_task(sweeper.run())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(main())
    sweeper.stop()


def test_stop_after_the_event_loop_was_closed(store):
    """`stop` does nothing when the event loop was closed under `run`, which can then run on another loop."""
    sweeper = Sweeper(store, PERIOD)
    loop = asyncio.new_event_loop()
    task = loop.create_task(sweeper.run())
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    sweeper.stop()

    async def main():
        again = asyncio.create_task(sweeper.run())
        await asyncio.sleep(0)
        sweeper.stop()
        await asyncio.wait_for(again, PATIENCE)

    asyncio.run(main())
    task._log_destroy_pending = False  # silences the warning about the closed loop


def test_callback_may_restart_the_sweeper(clock, new_record):
    """`stop` and `start` in `on_sweep` leave one thread, which the next `stop` ends."""
    store = MemoryStore(clock=clock)
    store.save(new_record(-1))
    restarted = threading.Event()

    def restart(report):
        sweeper.stop()
        sweeper.start()
        restarted.set()

    def threads():
        return [each for each in threading.enumerate() if each.name == "sled_sessions sweeper"]

    sweeper = Sweeper(store, PERIOD, on_sweep=restart)
    sweeper.start()
    (first,) = threads()
    assert restarted.wait(PATIENCE)
    first.join(PATIENCE)
    assert len(threads()) == 1
    sweeper.stop()
    assert threads() == []


def test_callback_may_stop_the_sweeper(clock, new_record, caplog):
    """`stop` in `on_sweep` makes that sweep the last one."""
    store = MemoryStore(clock=clock)
    store.save(new_record(-1))
    sweeper = Sweeper(store, PERIOD, on_sweep=lambda report: sweeper.stop())
    sweeper.start()
    (thread,) = (each for each in threading.enumerate() if each.name == "sled_sessions sweeper")
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize(("period", "jitter"), [(timedelta(0), 0.1), (-1, 0.1), (1, -0.1), (1, 1.5)])
def test_invalid_arguments_are_refused(store, period, jitter):
    """A period of zero or less, a jitter outside 0 to 1, an unknown strategy and a non-store are refused."""
    with pytest.raises(ValueError, match="period"):
        Sweeper(store, period, jitter=jitter)
    with pytest.raises(ValueError, match="SweepStrategy"):
        Sweeper(store, PERIOD, strategy="nonsense")
    for no_store in (None, MemoryStore):
        with pytest.raises(TypeError, match="SessionStore"):
            Sweeper(no_store, PERIOD)
