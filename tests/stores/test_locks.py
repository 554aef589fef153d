"""Locks by key: other threads wait, and a wait that could never end raises."""

import threading
import time
from functools import partial

import pytest
from stores.holding import held_up, holding
from waiting import wait_until, waits_for

from sled_sessions import sled
from sled_sessions.stores.locks import KeyLocks, WouldDeadlock, join


@pytest.fixture
def locks():
    return KeyLocks()


def hold_all_until(locks):
    return held_up(lambda wait: locks.hold_all(lambda: wait(None)))


def test_one_thread_at_a_time_for_each_key(locks):
    """Work on a key waits for other work on it, and for nothing else."""
    assert waits_for(holding(locks, "a"), partial(locks.hold, "a", int))
    with holding(locks, "a"):
        assert locks.hold("b", int, "7") == 7


def test_hold_all_excludes_every_key(locks):
    """While one thread holds all keys others wait, and it waits for those that hold one already."""
    assert waits_for(hold_all_until(locks), partial(locks.hold, "a", int))
    assert waits_for(hold_all_until(locks), partial(locks.hold_all, int))
    assert waits_for(holding(locks, "a"), partial(locks.hold_all, int))
    assert not locks.held


@pytest.mark.parametrize(
    ("outer", "inner"),
    [
        (lambda locks, work: locks.hold("a", work), lambda locks: locks.hold("a", int)),
        (lambda locks, work: locks.hold("a", work), lambda locks: locks.hold_all(int)),
        (lambda locks, work: locks.hold_all(work), lambda locks: locks.hold("a", int)),
        (lambda locks, work: locks.hold_all(work), lambda locks: locks.hold_all(int)),
    ],
    ids=["key in key", "all in key", "key in all", "all in all"],
)
def test_a_call_inside_another(locks, outer, inner):
    """Inside work that holds what the call needs, the call raises at once, and afterwards everything is free."""
    with pytest.raises(RuntimeError, match="in the middle of another call"):
        outer(locks, partial(inner, locks))
    assert not locks.held
    inner(locks)


def test_another_key_inside(locks):
    """Inside work on one key, work on another goes through."""
    assert locks.hold("a", locks.hold, "b", int, "7") == 7


@pytest.mark.parametrize("threads", [2, 3])
def test_a_circle_of_threads(threads):
    """Of threads that wait for each other in a circle, at least one raises, and the others go on."""
    first, locks = threading.Barrier(threads), [KeyLocks() for _ in range(threads)]
    outcomes = []

    def ask_for_the_next(number):
        first.wait(20)
        try:
            outcomes.append(locks[(number + 1) % threads].hold("a", str))
        except WouldDeadlock as error:
            outcomes.append(error.locks)

    workers = [
        threading.Thread(target=locks[number].hold, args=("a", ask_for_the_next, number), daemon=True)
        for number in range(threads)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(20)
        assert not worker.is_alive()
    assert len(outcomes) == threads
    assert set(outcomes) & set(locks)
    assert "" in outcomes


def test_join_waits_for_the_end():
    """`join` returns when the thread has ended."""
    thread = threading.Thread(target=time.sleep, args=(0.2,))
    thread.start()
    join(thread)
    assert not thread.is_alive()


def test_join_of_a_thread_that_waits_for_this_one(locks):
    """`join` returns while the thread waits for what this thread holds."""
    thread = threading.Thread(target=locks.hold, args=("a", int))

    def start_and_join():
        thread.start()
        join(thread)
        assert thread.is_alive()

    locks.hold("a", start_and_join)
    thread.join(20)
    assert not thread.is_alive()


def test_join_in_a_transaction():
    """In a transaction's function `join` returns at once: the thread may wait for the end of the transaction."""
    with sled.open(temporary=True) as db:
        thread = threading.Thread(target=db.insert, args=(b"key", b"value"))

        def start_and_join(tree):
            tree.insert(b"other", b"value")
            thread.start()
            join(thread)

        sled.transaction(start_and_join, db)
        thread.join(20)
        assert not thread.is_alive()


def test_wait_in_a_transaction(locks):
    """In a transaction's function a wait for a thread that may wait for the transaction raises."""
    with sled.open(temporary=True) as db:
        thread = threading.Thread(target=locks.hold, args=("a", db.insert, b"key", b"value"))

        def start_and_hold(_):
            thread.start()
            wait_until(lambda: locks.held)
            with pytest.raises(WouldDeadlock):
                locks.hold("a", int)

        sled.transaction(start_and_hold, db)
        thread.join(20)
        assert not thread.is_alive()


def test_heavy_use(locks, fast_switching):
    """With many threads on few keys, and some that take all keys, no two work on the same key."""
    counts, threads = dict.fromkeys("abc", 0), []

    def add(keys):
        seen = {key: counts[key] for key in keys}
        for key in keys:
            counts[key] = seen[key] + 1

    def work():
        for number in range(300):
            key = "abc"[number % 3]
            locks.hold(key, add, key)
            if number % 50 == 0:
                locks.hold_all(partial(add, "abc"))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    wait_until(lambda: not locks.held)
    assert counts == dict.fromkeys("abc", 8 * (100 + 6))
