"""Transactions: all or nothing over several trees, and never a deadlock."""

import gc
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from engine.calls import CALLS, calls, elsewhere
from engine.processes import python

from sled_sessions import sled


def test_over_two_trees(db: sled.Db) -> None:
    """A transaction moves a pair from one tree to another and returns what its function returned."""
    one, other = db.open_tree("one"), db.open_tree("other")
    one.insert(b"key", b"value")

    def move(one: sled.TransactionTree, other: sled.TransactionTree) -> str:
        value = one.remove(b"key")
        assert value is not None
        assert one.get(b"key") is None
        assert other.insert(b"key", value) is None
        assert other.get(b"key") == b"value"
        batch = sled.Batch()
        batch.insert(b"batch", b"value")
        other.apply_batch(batch)
        other.insert(b"id", b"%d" % other.generate_id())
        other.flush()
        return "moved"

    assert sled.transaction(move, one, other) == "moved"
    assert one.is_empty()
    assert list(other.keys()) == [b"batch", b"id", b"key"]


def test_an_exception_aborts(db: sled.Db) -> None:
    """Any exception undoes all writes of the function and is passed on unchanged."""
    for error in (KeyError("mine"), KeyboardInterrupt(), sled.SledError("mine")):

        def fail(tree: sled.TransactionTree, error: BaseException = error) -> None:
            tree.insert(b"key", b"value")
            raise error

        with pytest.raises(type(error)) as raised:
            sled.transaction(fail, db)
        assert raised.value is error
    assert db.is_empty()
    db.insert(b"key", b"value")


@pytest.mark.parametrize("name", [*CALLS, "close"])
def test_plain_calls_inside(db: sled.Db, name: str) -> None:
    """A plain call or another transaction inside a transaction raises at once; sled would deadlock."""
    plain = (calls(db) | {"close": db.close})[name]

    def function(tree: sled.TransactionTree) -> None:
        tree.insert(b"mine", b"value")
        with pytest.raises(sled.SledError, match="this thread is inside a transaction"):
            plain()

    sled.transaction(function, db)
    assert db.get(b"mine") == b"value"


def test_another_database_inside(db: sled.Db) -> None:
    """Sled's lock is global, so calls of another database are refused inside a transaction too."""
    with sled.open(temporary=True) as other:

        def function(_: sled.TransactionTree) -> None:
            with pytest.raises(sled.SledError, match="inside a transaction"):
                other.get(b"key")
            with pytest.raises(sled.SledError, match="inside a transaction"):
                sled.open(temporary=True)

        sled.transaction(function, db)


def test_wrong_trees(db: sled.Db) -> None:
    """A transaction needs at least one tree, and trees of one database; otherwise the function is not called."""
    called: list[object] = []
    with pytest.raises(sled.SledError, match="at least one tree"):
        sled.transaction(called.append)
    with sled.open(temporary=True) as other, pytest.raises(sled.Unsupported, match="one database"):
        sled.transaction(lambda *trees: called.append(trees), db, other)
    with pytest.raises(TypeError):
        sled.transaction(called.append, "tree")  # type: ignore[arg-type]
    assert called == []


def test_one_tree_twice(db: sled.Db) -> None:
    """A tree that is given twice, even as two handles, is one tree: each sees the other's writes."""

    def function(first: sled.TransactionTree, other: sled.TransactionTree, second: sled.TransactionTree) -> None:
        first.insert(b"key", b"value")
        assert second.get(b"key") == b"value"
        assert other.get(b"key") is None

    sled.transaction(function, db.open_tree("tree"), db, db.open_tree("tree"))
    assert list(db.open_tree("tree")) == [(b"key", b"value")]


def test_trees_end_with_their_transaction(db: sled.Db) -> None:
    """A transaction's tree raises when it is used later or in another thread."""
    kept: list[sled.TransactionTree] = []
    failures: list[type[BaseException]] = []

    def use() -> None:
        for call in (lambda: kept[0].get(b"key"), lambda: kept[0].insert(b"key", b"value")):
            try:
                call()
            except sled.SledError as error:
                failures.append(type(error))

    def function(tree: sled.TransactionTree) -> None:
        kept.append(tree)
        thread = threading.Thread(target=use)
        thread.start()
        thread.join(20)

    sled.transaction(function, db)
    sled.transaction(lambda _: use(), db)
    use()
    assert failures == [sled.SledError] * 6
    assert db.is_empty()


def test_threads(db: sled.Db) -> None:
    """Concurrent transactions, plain calls and iterations never deadlock, and lose no write."""
    one, other = db.open_tree("one"), db.open_tree("other")
    one.insert(b"sum", b"1000")
    other.insert(b"sum", b"0")
    done = threading.Event()
    wrong: list[int] = []

    def move(one: sled.TransactionTree, other: sled.TransactionTree) -> None:
        left, right = int(one.get(b"sum") or b""), int(other.get(b"sum") or b"")
        one.insert(b"sum", b"%d" % (left - 1))
        other.insert(b"sum", b"%d" % (right + 1))

    def watch(one: sled.TransactionTree, other: sled.TransactionTree) -> int:
        return int(one.get(b"sum") or b"") + int(other.get(b"sum") or b"")

    def mover() -> None:
        for _ in range(100):
            sled.transaction(move, one, other)

    def reader(work: Callable[[], object]) -> None:
        while not done.is_set():
            work()

    works = [
        lambda: wrong.append(total) if (total := sled.transaction(watch, other, one)) != 1000 else None,
        lambda: one.get(b"sum"),
        lambda: one.insert(b"key", b"value") or one.remove(b"key"),
        lambda: list(other),
        lambda: other.update_and_fetch(b"key", lambda value: b"x" if value is None else None),
    ]
    movers = [threading.Thread(target=mover) for _ in range(3)]
    readers = [threading.Thread(target=reader, args=[work]) for work in works]
    for thread in movers + readers:
        thread.start()
    for thread in movers:
        thread.join(30)
    done.set()
    for thread in readers:
        thread.join(30)
    assert not any(thread.is_alive() for thread in movers + readers)
    assert wrong == []
    assert (one.get(b"sum"), other.get(b"sum")) == (b"700", b"300")


def test_last_reference_dropped_inside(db: sled.Db, tmp_path: Path) -> None:
    """A database whose last reference is dropped inside a transaction is closed without blocking it."""
    holder = [sled.open(tmp_path / "other")]
    holder[0].insert(b"key", b"value")

    def function(_: sled.TransactionTree) -> None:
        holder.clear()
        gc.collect()

    sled.transaction(function, db)
    for _ in range(100):
        try:
            sled.open(tmp_path / "other").close()
            break
        except sled.DatabaseLocked:
            threading.Event().wait(0.05)
    assert elsewhere(tmp_path / "other") == "1"


@pytest.mark.slow
def test_last_reference_dropped_inside_without_threads(folder: Path) -> None:
    """If no thread can be started to close such a database, it stays open and the program continues."""
    code = """
import resource, sys
from sled_sessions import sled
db = sled.open(sys.argv[1])
holder = [sled.open(temporary=True)]
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
def function(tree):
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used, before[1]))
    holder.clear()
    resource.setrlimit(resource.RLIMIT_AS, before)
    tree.insert(b"key", b"value")
sled.transaction(function, db)
print(db.get(b"key"))
"""
    done = python(code, folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "b'value'\n", "")


def test_dropping_waits_for_a_transaction(db: sled.Db) -> None:
    """drop_tree() in another thread waits until the transaction has been applied to all its trees."""
    trees = db.open_tree("kept"), db.open_tree("dropped")
    dropped: list[bool] = []
    dropper = threading.Thread(target=lambda: dropped.append(db.drop_tree("dropped")))

    def function(*views: sled.TransactionTree) -> None:
        for view in views:
            view.insert(b"key", b"value")
        dropper.start()
        dropper.join(0.1)

    sled.transaction(function, *trees)
    dropper.join(20)
    assert dropped == [True]
    assert dict(iter(trees[0])) == {b"key": b"value"}
    with pytest.raises(sled.CollectionNotFound):
        trees[1].get(b"key")


def test_many_trees_in_a_small_stack(db: sled.Db) -> None:
    """A transaction takes any number of trees, even in a thread with a small stack."""
    trees = [db.open_tree(f"tree {number}") for number in range(1000)]
    before = threading.stack_size(262_144)
    try:
        thread = threading.Thread(
            target=sled.transaction, args=[lambda *views: views[-1].insert(b"key", b"value"), *trees]
        )
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join(20)
    assert trees[-1].get(b"key") == b"value"


def test_closing_waits_for_a_transaction(db: sled.Db) -> None:
    """close() in another thread waits until the transaction has been applied; reprs do not wait."""
    started = threading.Event()
    closer = threading.Thread(target=lambda: (started.wait(), db.close()))
    closer.start()

    def function(tree: sled.TransactionTree) -> None:
        started.set()
        closer.join(0.1)
        assert closer.is_alive()
        assert str(db.path) in repr(db)
        tree.insert(b"key", b"value")

    sled.transaction(function, db)
    closer.join(20)
    assert elsewhere(db.path) == "1"
