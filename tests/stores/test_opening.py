"""`SledStore.at`: a store that opens its folder on first use, or when it is entered."""

import asyncio
import gc
import os
import subprocess
import sys
import threading
from datetime import timedelta

import pytest
from sessions import uses
from stores.holding import held_up
from waiting import wait_until

from sled_sessions import (
    AsyncStore,
    BackendError,
    CachingStore,
    MemoryStore,
    SledStore,
    Sweeper,
    SweepStrategy,
    observe,
    operate,
    sled,
)
from sled_sessions.session import SessionManager

HOUR = timedelta(hours=1)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "storage"


@pytest.fixture
def store(path, clock):
    store = SledStore.at(path, clock=clock)
    yield store
    store.close()


def is_free(path):
    """Whether another store can open the folder."""
    try:
        SledStore.open(path).close()
    except sled.DatabaseLocked:
        return False
    return True


def run(program, path):
    """Run a program in a process of its own, with the path as its argument."""
    command = [sys.executable, "-c", program, path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def calls(store, record):
    """Each kind of use, except for a sweep."""
    return [*uses(store, record), lambda: store.resolution, lambda: store.failure, lambda: store.tree]


def test_nothing_is_touched_before_the_first_use(store, path):
    """Making a store, showing it, and wrapping it open nothing; the first call does."""
    assert repr(store) == f"SledStore.at({str(path)!r}, tree='session', strategy=EXPIRY_INDEX)"
    assert "opens on first use" in store._repr_html_()
    wrapped = observe(AsyncStore(CachingStore(MemoryStore(), store)), print)
    assert str(path) in repr(wrapped) + repr(SessionManager(store)) + repr(Sweeper(store, HOUR))
    assert store.is_new
    assert not store.is_open
    assert not path.exists()
    assert store.count() == 0
    assert store.is_open
    assert not store.is_new
    assert "opens" not in store._repr_html_()


@pytest.mark.parametrize("number", range(15))
def test_each_use_opens(store, new_record, number):
    """Whichever use comes first, it opens the store."""
    use = calls(store, new_record())[number]
    use()
    assert store.is_open


def test_entering_opens(store, path):
    """Entering opens the store, and leaving closes it."""
    with store as entered:
        assert entered is store
        assert store.is_open
        assert not is_free(path)
    assert not store.is_open
    assert is_free(path)


def test_nested_blocks_are_counted(store, path, new_record):
    """The last block to end closes the store, in whichever thread the blocks are."""
    with store:
        with store:
            pass
        thread = threading.Thread(target=store.__enter__)
        thread.start()
        thread.join()
    store.save(new_record())
    store.__exit__()
    assert is_free(path)


def test_a_relative_path_is_fixed_at_once(tmp_path, monkeypatch):
    """A relative path is below the working directory in which the store was made."""
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "one")
    store = SledStore.at("storage", tree=b"carts")
    monkeypatch.chdir(tmp_path / "other")
    with store:
        assert store.tree.db.path == tmp_path / "one" / "storage"
        assert store.tree.name == b"carts"
    assert "carts" in repr(store)
    assert "carts" in store._repr_html_()
    assert os.listdir(tmp_path / "other") == []


def test_closed_store_raises(store, path, new_record):
    """After closing, opened before or not, each use raises an error that is a ClosedError, too; nothing is opened."""
    record = new_record()
    for _ in range(2):
        store.close()
        store.close()
        for use in calls(store, record):
            with pytest.raises(BackendError, match="entering it, `with store:`, opens it again") as caught:
                use()
            assert isinstance(caught.value, sled.ClosedError)
        assert "opens it again" in store._repr_html_()
        assert is_free(path)
        with store:
            store.save(record)
            assert store.load(record.id) == record


def test_what_an_earlier_opening_gave_out(store, new_record):
    """A tree, and an iterator, of an earlier opening raise after it, also when the store is open again."""
    with store:
        store.save(new_record())
        tree, records = store.tree, store.records()
    with store:
        with pytest.raises(sled.ClosedError):
            tree.get(b"key")
        assert len(list(records)) == 1  # a generator that had not started
        assert store.count() == 1


def test_entering_after_the_database_was_closed(store, path):
    """A database that was closed by itself is opened again by entering."""
    with store:
        store.tree.db.close()
        assert not store.is_open
        with pytest.raises(BackendError, match="closed"):
            store.count()
        with store:
            assert store.count() == 0
    assert is_free(path)


def test_close_inside_a_block(store, path):
    """`close` closes the store in the middle of a block, and the end of the block has nothing left to do."""
    with store:
        store.close()
        assert is_free(path)
    with store:
        assert store.count() == 0
    assert is_free(path)


def test_sweeping_a_closed_store(store, path, new_record):
    """A sweep of a closed store deletes nothing, raises nothing, and opens nothing."""
    with store:
        store.save(new_record(-1))
    report = store.delete_expired()
    assert (report.examined, report.deleted, report.complete) == (0, 0, True)
    assert CachingStore(MemoryStore(), store).delete_expired().deleted == 0
    assert is_free(path)
    with store:
        assert store.delete_expired().deleted == 1
    with pytest.raises(ValueError, match="'indexed' is not a valid SweepStrategy"):
        store.delete_expired("indexed")


def test_closing_during_a_sweep(store, new_record):
    """A sweep whose store is closed meanwhile ends with the report of what it did."""
    with store:
        for _ in range(3):
            store.save(new_record(-1))
        report = store.delete_expired(on_expired=lambda record: store.close())
    assert report.deleted == 1
    with store:
        assert store.count() == 2


@pytest.mark.parametrize("wrap", [lambda store: store, lambda store: CachingStore(MemoryStore(), store)])
def test_a_sweeper_opens_the_store(store, path, wrap):
    """Starting a Sweeper opens a new store, which stays open; a closed one it opens until it stops."""
    with Sweeper(wrap(store), HOUR):
        assert store.is_open
    assert store.count() == 0
    with store, Sweeper(wrap(store), HOUR):
        assert store.count() == 0
    assert is_free(path)
    with Sweeper(wrap(store), HOUR):
        assert store.count() == 0
    assert is_free(path)


def test_a_sweeper_task_opens_the_store(store, path):
    """So does `run`; a task that is stopped before its first step opens nothing."""

    async def main():
        sweeper = Sweeper(AsyncStore(store), HOUR)
        for stops_early in (True, False):
            running = asyncio.create_task(sweeper.run())
            if not stops_early:
                await asyncio.sleep(0.01)
            assert store.is_open is not stops_early
            sweeper.stop()
            await running
            assert not store.is_open

    store.close()
    asyncio.run(main())
    assert is_free(path)


def test_a_sweeper_that_cannot_open_the_store(store, path):
    """Starting a Sweeper raises if the store cannot be opened, and the sweeper can be started later."""
    sweeper = Sweeper(store, HOUR)
    with SledStore.open(path), pytest.raises(sled.DatabaseLocked):
        sweeper.start()
    with sweeper:
        assert store.is_open


def test_a_sweeper_that_outlives_the_store(store, path, caplog):
    """A Sweeper that goes on after the store was closed neither logs errors nor opens it."""
    with store:
        store.first_expiry()
        sweeper = Sweeper(store, 0.001)
        sweeper.start()
    reports = []
    with Sweeper(MemoryStore(), 0.001, strategy=SweepStrategy.FULL_SCAN, on_sweep=reports.append):
        wait_until(lambda: len(reports) > 20)
    assert not store.is_open
    sweeper.stop()
    assert is_free(path)
    assert not [record for record in caplog.records if record.exc_info]


def test_threads_that_open_together(store, new_record):
    """Of threads whose first uses come together, one opens the store and the others wait for it."""
    barrier, outcomes = threading.Barrier(8), []

    def use():
        barrier.wait(20)
        outcomes.append(store.create(new_record()))

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(outcomes) == store.count() == 8


def test_use_during_the_opening(path, clock, new_record):
    """Other threads wait until the store has its index; a call inside the opening raises instead of waiting."""
    with SledStore.open(path, strategy=SweepStrategy.FULL_SCAN, clock=clock) as store:
        store.save(new_record())
    inside = []

    def progress(done, total):
        with pytest.raises(RuntimeError, match="in the middle of another call"):
            store.count()
        inside.append(store.is_open)
        if hold is not None:
            hold(None)

    hold = None
    store = SledStore.at(path, clock=clock, progress=progress)
    found = []
    thread = threading.Thread(target=lambda: found.append(store.count()))

    def open_slowly(wait):
        nonlocal hold
        hold = wait
        store.__enter__()

    with held_up(open_slowly):
        thread.start()
        thread.join(0.05)
        assert thread.is_alive()
    thread.join(30)
    assert found == [1]
    assert inside == [False]
    store.close()


def test_a_failed_opening(store, path, new_record):
    """A use that cannot open the store raises BackendError, and the next one tries again."""
    with SledStore.open(path):
        for use in (lambda: store.load(new_record().id), lambda: store.save(new_record()), lambda: store.tree):
            with pytest.raises(BackendError, match="open") as caught:
                use()
            assert isinstance(caught.value.__cause__, sled.DatabaseLocked)
        with pytest.raises(sled.DatabaseLocked):
            store.__enter__()
        assert store.is_new
    with store:
        assert store.count() == 0
    assert is_free(path)


def test_an_interrupted_opening(path, clock, new_record):
    """An exception while the index is built closes the database, and the next use opens it."""
    with SledStore.open(path, strategy=SweepStrategy.FULL_SCAN, clock=clock) as store:
        store.save(new_record())
    interruptions = [KeyboardInterrupt]

    def interrupt(done, total):
        if interruptions:
            raise interruptions.pop()

    store = SledStore.at(path, clock=clock, progress=interrupt)
    with pytest.raises(KeyboardInterrupt):
        store.count()
    assert store.is_new
    assert is_free(path)
    with store:
        assert store.verify_index().entries == 1


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"resolution": 1}, TypeError),
        ({"resolution": timedelta(0)}, ValueError),
        ({"durability": "never"}, ValueError),
        ({"strategy": "indexed"}, ValueError),
        ({"cache": 1}, TypeError),
        ({"path": ""}, ValueError),
        ({"path": 7}, TypeError),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_wrong_options(path, options, error):
    """Wrong options are refused at once, not at the first use."""
    with pytest.raises(error):
        SledStore.at(**{"path": path, **options})


def test_options_hold_for_each_opening(path, clock, new_record):
    """Each opening has the options that the store was made with."""
    store = SledStore.at(path, strategy=SweepStrategy.FULL_SCAN, durability="fsync", clock=clock)
    for _ in range(2):
        with store:
            store.save(new_record())
            assert store.resolution is None
            assert store.tree.db.tree_names() == [b"__sled__default", b"session"]


def test_a_dropped_store_frees_its_folder(path):
    """A store that nothing refers to is closed without a garbage collection."""
    gc.disable()
    try:
        store = SledStore.at(path)
        store.count()
        del store
        assert is_free(path)
    finally:
        gc.enable()


def test_operations_take_it(store, tmp_path, new_record):
    """Operations on a store open one that is new."""
    assert operate.stats(store).sessions == 0
    store.save(new_record())
    operate.backup(store.tree.db, tmp_path / "backup")
    assert operate.check_everything(store)


def test_a_forked_child_can_open_it(path):
    """A store that was made before the process forked, and not used, can be opened in the child."""
    program = """
import os, sys
from sled_sessions import BackendError, SledStore
store = SledStore.at(sys.argv[1])
if (child := os.fork()) == 0:
    with store:
        os._exit(store.count())
assert os.waitpid(child, 0)[1] == 0
with store:
    if (child := os.fork()) == 0:
        assert not store.is_open and repr(store)
        try:
            store.count()
        except BackendError as error:
            os._exit(type(error.__cause__).__name__ != "ForkedProcess")
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
"""
    done = subprocess.run(
        [sys.executable, "-c", program, path], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_signal_handler_during_the_opening(path):
    """A handler that uses the store while the call that it interrupts opens it gets an error and does not hang."""
    program = """
import signal, sys
from datetime import UTC, datetime, timedelta
from sled_sessions import Id, Record, SledStore, SweepStrategy
with SledStore.open(sys.argv[1], strategy=SweepStrategy.FULL_SCAN) as store:
    store.save(Record(Id.new(), {}, datetime.now(UTC) + timedelta(hours=1)))
refused = []
def handle(*_):
    for use in (store.count, store.close, store.__enter__):
        try:
            use()
        except RuntimeError:
            refused.append(use)
signal.signal(signal.SIGUSR1, handle)
store = SledStore.at(sys.argv[1], progress=lambda done, total: signal.raise_signal(signal.SIGUSR1))
with store:
    assert store.count() == 1
assert len(refused) == 3, refused
"""
    done = subprocess.run(
        [sys.executable, "-c", program, path], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
