"""Watchers yield changes in order, and no writer ever waits for them."""

import contextlib
import gc
import resource
import threading
import time
from pathlib import Path

import pytest
from engine.processes import python

from sled_sessions import sled


def test_events(tree: sled.Tree) -> None:
    """A watcher yields the changes of its prefix in order: key and value, None for a removal."""
    watcher, everything = tree.watch(b"a"), tree.watch()
    tree.insert(b"a1", b"value")
    tree.insert(b"b1", b"other")
    tree.compare_and_swap(b"a1", b"value", b"swapped")
    tree.remove(b"a1")
    events = [watcher.get(timeout=5) for _ in range(3)]
    assert [(event.key, event.value) for event in events if event] == [
        (b"a1", b"value"),
        (b"a1", b"swapped"),
        (b"a1", None),
    ]
    assert watcher.get(timeout=0) is None
    assert next(everything) == events[0]
    assert next(everything) not in events
    assert len({*events, events[0]}) == 3


def test_writes_without_a_change(tree: sled.Tree) -> None:
    """Writes that change nothing yield no events, and do not stop the watcher."""
    watcher = tree.watch()
    tree.insert(b"key", b"value")
    for _ in range(5000):
        tree.insert(b"key", b"value")
        tree.remove(b"missing")
    tree.remove(b"key")
    assert [watcher.get(timeout=5), watcher.get(timeout=5)] == [
        watcher_event(b"key", b"value"),
        watcher_event(b"key", None),
    ]
    assert watcher.get(timeout=0.05) is None


def test_swaps_to_the_same_value(tree: sled.Tree) -> None:
    """A swap or an update to the same value is an event, as documented."""
    tree.insert(b"key", b"value")
    watcher = tree.watch()
    tree.compare_and_swap(b"key", b"value", b"value")
    tree.update_and_fetch(b"key", lambda value: value or b"")
    assert [watcher.get(timeout=5), watcher.get(timeout=5)] == [watcher_event(b"key", b"value")] * 2


def watcher_event(key: bytes, value: bytes | None) -> sled.Event:
    """An event with this key and value, from another database."""
    with sled.open(temporary=True) as db:
        db.insert(key, b"")
        watcher = db.watch()
        if value is None:
            db.remove(key)
        else:
            db.insert(key, value)
        event = watcher.get(timeout=5)
        assert event is not None
        return event


def test_transactions_and_batches(db: sled.Db) -> None:
    """Writes of transactions and batches are events too."""
    watcher = db.watch()
    sled.transaction(lambda tree: tree.insert(b"transaction", b"value"), db)
    batch = sled.Batch()
    batch.insert(b"batch", b"value")
    db.apply_batch(batch)
    assert [next(watcher).key, next(watcher).key] == [b"transaction", b"batch"]


def test_slow_reader(tree: sled.Tree) -> None:
    """Writers never wait for an unread watcher; its reader learns how many events it has missed and continues."""
    watcher = tree.watch(capacity=10)
    for number in range(5000):
        tree.insert(b"key", b"%d" % number)
    deadline = time.monotonic() + 5
    seen, lost = [], 0
    while (not seen or seen[-1] != b"4999") and time.monotonic() < deadline:
        try:
            event = watcher.get(timeout=1)
        except sled.EventsLost as error:
            lost += int(str(error).split()[0])
        else:
            assert event is not None
            seen.append(event.value)
    assert lost > 0
    assert lost + len(seen) == 5000
    with pytest.raises(ValueError, match="capacity"):
        tree.watch(capacity=0)


def test_closing_the_watcher(tree: sled.Tree) -> None:
    """Closing a watcher wakes its waiting thread, and does not disturb writers."""
    watcher = tree.watch()
    tree.insert(b"key", b"value")
    first = next(watcher)
    ended: list[object] = []
    thread = threading.Thread(target=lambda: ended.append(list(watcher)))
    thread.start()
    watcher.close()
    thread.join(20)
    assert ended == [[]]
    assert first.value == b"value"
    with pytest.raises(sled.ClosedError, match="the watcher or its database is closed"):
        watcher.get(timeout=1)
    for number in range(5000):
        tree.insert(b"key", b"%d" % number)


def test_closing_the_database(db: sled.Db) -> None:
    """Closing the database ends a watcher's iteration after its remaining events."""
    watcher = db.watch()
    db.insert(b"key", b"value")
    ended: list[list[bytes]] = []
    thread = threading.Thread(target=lambda: ended.append([event.key for event in watcher]))
    thread.start()
    db.close()
    thread.join(20)
    assert ended == [[b"key"]]


def test_dropped_tree(db: sled.Db) -> None:
    """Dropping a tree ends its watchers; a dropped tree cannot be watched, but a new tree of that name can."""
    tree = db.open_tree("tree")
    watcher = tree.watch()
    tree.insert(b"key", b"value")
    assert next(watcher).value == b"value"
    db.drop_tree("tree")
    assert list(watcher) == []
    with pytest.raises(sled.CollectionNotFound):
        tree.watch()
    again = db.open_tree("tree")
    watcher = again.watch()
    again.insert(b"key", b"again")
    assert next(watcher).value == b"again"


def test_events_before_a_drop(db: sled.Db) -> None:
    """A watcher gets every change made before its tree was dropped, even if that was right after."""
    for _ in range(100):
        tree = db.open_tree("tree")
        watcher = tree.watch()
        for number in range(50):
            tree.insert(b"%d" % number, b"value")
        db.drop_tree("tree")
        assert sum(1 for _ in watcher) == 50


def test_the_default_tree_by_its_name(db: sled.Db) -> None:
    """The database and its default tree, opened by name, share their watchers."""
    tree = db.open_tree("__sled__default")
    watchers = [db.watch(), tree.watch()]
    db.insert(b"one", b"1")
    tree.insert(b"two", b"2")
    db.import_([(b"tree", b"__sled__default", [(b"three", b"3")])])
    for watcher in watchers:
        assert [next(watcher).key for _ in range(3)] == [b"one", b"two", b"three"]


def test_closed_watchers_are_freed(db: sled.Db) -> None:
    """Closed watchers are freed, even if the tree is never written to."""
    db.watch().close()
    before = memory()
    for _ in range(200_000):
        db.watch(bytes(500)).close()
    assert memory() - before < 30_000_000


def memory() -> int:
    """The process's resident memory, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_watchers_come_and_go_under_load(tree: sled.Tree) -> None:
    """Opening, closing and abandoning watchers under load never stops a writer."""
    done = threading.Event()
    written = [0, 0]

    def write(index: int) -> None:
        while not done.is_set():
            tree.insert(b"%d" % index, b"%d" % (written[index] % 3))
            written[index] += 1

    threads = [threading.Thread(target=write, args=[index]) for index in range(2)]
    for thread in threads:
        thread.start()
    try:
        for number in range(200):
            with tree.watch(capacity=5) as watcher:
                if number % 2:
                    with contextlib.suppress(sled.EventsLost):
                        next(watcher)
            tree.watch()
        gc.collect()
        before = list(written)
        deadline = time.monotonic() + 10
        while min(written[0] - before[0], written[1] - before[1]) < 100 and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        done.set()
        for thread in threads:
            thread.join(20)
    assert not any(thread.is_alive() for thread in threads)
    assert all(now > then for now, then in zip(written, before, strict=True))


def test_interrupt(folder: Path) -> None:
    """Ctrl-C ends a wait for an event."""
    code = (
        "import os, signal, sys, threading; from sled_sessions import sled\n"
        "db = sled.open(sys.argv[1]); watcher = db.watch()\n"
        "threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()\n"
        "try: next(watcher)\n"
        "except KeyboardInterrupt: print('interrupted')\n"
    )
    done = python(code, folder)
    assert (done.stdout, done.stderr) == ("interrupted\n", "")


@pytest.mark.parametrize("timeout", [1e300, float("inf")])
def test_endless_timeouts(tree: sled.Tree, timeout: float) -> None:
    """A timeout beyond the clock's range waits like None."""
    with tree.watch() as watcher:
        tree.insert(b"key", b"value")
        assert watcher.get(timeout=timeout)


@pytest.mark.parametrize("timeout", [-1, float("-inf"), float("nan")])
def test_wrong_timeouts(tree: sled.Tree, timeout: float) -> None:
    """A negative timeout or NaN raises ValueError."""
    with pytest.raises(ValueError, match="number of seconds"):
        tree.watch().get(timeout=timeout)


def test_repr_shows_only_sizes(tree: sled.Tree) -> None:
    """An event's repr shows only sizes, because keys and values may be secrets."""
    with tree.watch() as watcher:
        tree.insert(b"secret", b"secret")
        assert repr(next(watcher)) == "<sled.Event insert: key of 6 bytes, value of 6>"
