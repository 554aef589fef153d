"""Forks: in a child every call raises ForkedProcess instead of hanging, and the parent's data stays intact."""

import contextlib
import fcntl
import gc
import os
import threading
import time
import warnings
from pathlib import Path

from engine.calls import CALLS, calls, elsewhere
from engine.processes import in_fork, living_child, python

from sled_sessions import sled


def test_every_call_in_a_child(db: sled.Db) -> None:
    """In a forked child every call, close() included, raises ForkedProcess at once instead of hanging."""
    every = calls(db)
    watcher = db.watch()
    every |= {
        "close": db.close,
        "exit": lambda: db.__exit__(None, None, None),
        "event": lambda: watcher.get(timeout=1),
        "stop watching": watcher.close,
        "open": lambda: sled.open(db.path),
        "open another": lambda: sled.open(temporary=True),
    }

    def collect() -> dict[str, str]:
        outcomes = {}
        for name, call in every.items():
            try:
                call()
            except BaseException as error:  # noqa: BLE001 - reported to the parent
                outcomes[name] = type(error).__name__
            else:
                outcomes[name] = "nothing raised"
        return {name: outcome for name, outcome in outcomes.items() if outcome != "ForkedProcess"}

    assert in_fork(collect) == "{}"
    assert set(CALLS) < set(every)
    assert db.insert(b"the parent", b"goes on") is None


def test_garbage_collection_in_a_child(folder: Path) -> None:
    """A child that drops the last references neither hangs nor writes; the parent's data stays intact."""
    objects = {}
    objects["db"] = sled.open(folder, flush_every_ms=None)
    objects["tree"] = objects["db"].open_tree("tree")
    objects["dropped"] = objects["db"].open_tree("dropped")
    objects["db"].drop_tree("dropped")
    objects["iterator"] = iter(objects["tree"])
    objects["watcher"] = objects["tree"].watch()
    for number in range(1000):
        objects["tree"].insert(number.to_bytes(4, "big"), b"value")

    def forget() -> int:
        objects.clear()
        return gc.collect() and 0

    assert in_fork(forget) == "0"
    assert len(objects["tree"]) == 1000
    objects["db"].close()
    with sled.open(folder) as db:
        assert len(db.open_tree("tree")) == 1000


def test_a_child_exits(folder: Path) -> None:
    """A child that runs its exit handlers ends."""
    code = (
        "import os, sys; from sled_sessions import sled\n"
        "db = sled.open(sys.argv[1]); db.insert(b'key', b'value')\n"
        "tree = db.open_tree('tree'); watcher = tree.watch(); pairs = iter(db)\n"
        "child = os.fork()\n"
        "if child: sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    done = python(code, folder)
    assert done.returncode == 0, done.stderr
    assert elsewhere(folder) == "1"


def test_a_running_child_does_not_hold_the_lock(db: sled.Db) -> None:
    """After close() the folder is free even while a child runs that was forked while it was open."""
    with living_child():
        db.close()
        assert elsewhere(db.path) == "0"


def test_a_child_forked_during_an_open(folder: Path) -> None:
    """After close() the folder is free even while a child runs that was forked during another thread's open."""
    with sled.open(folder) as db:
        db.insert(b"key", b"value")
    os.truncate(folder / "db", 1000 << 20)  # a hole that sled reads for some hundred milliseconds
    opened: list[sled.Db] = []
    opening = threading.Thread(target=lambda: opened.append(sled.open(folder)))
    opening.start()
    with (folder / "db").open("rb") as file, contextlib.suppress(BlockingIOError):
        while opening.is_alive():  # until sled has the lock
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(file, fcntl.LOCK_UN)
            time.sleep(0.001)
    with living_child():
        opening.join(20)
        opened[0].close()
        assert elsewhere(folder) == "1"


def test_a_child_forked_during_the_first_open(folder: Path) -> None:
    """A child forked while another thread opens the process's first database can open that database later."""
    with sled.open(folder) as db:
        db.insert(b"key", b"value")
    code = """
import fcntl, os, sys, threading, time
from sled_sessions import sled
folder = sys.argv[1]
file = open(os.path.join(folder, "db"))
fcntl.flock(file, fcntl.LOCK_EX)  # the open waits for it for a moment
opening = threading.Thread(target=lambda: sled.open(folder).close())
opening.start()
time.sleep(0.02)
reader, writer = os.pipe()
if child := os.fork():
    fcntl.flock(file, fcntl.LOCK_UN)
    opening.join()
    os.write(writer, b"x")
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
os.read(reader, 1)
sled.open(folder).close()
os._exit(0)
"""
    done = python(code, folder)
    assert done.returncode == 0, done.stderr


def test_fork_before_the_first_open(folder: Path) -> None:
    """A child of a process that never opened a database may open one."""
    code = (
        "import os, sys; from sled_sessions import sled\n"
        "child = os.fork()\n"
        "if child: sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
        "with sled.open(sys.argv[1]) as db: db.insert(b'key', b'value')\n"
    )
    done = python(code, folder)
    assert done.returncode == 0, done.stderr
    assert elsewhere(folder) == "1"


def test_fork_inside_a_transaction(db: sled.Db) -> None:
    """If a transaction's function forks, the child gets ForkedProcess, and the parent's transaction is applied."""

    def function(tree: sled.TransactionTree) -> int:
        tree.insert(b"key", b"value")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # as in in_fork
            return os.fork()

    parent = os.getpid()
    try:
        child = sled.transaction(function, db)
    except sled.ForkedProcess:
        os._exit(0)
    finally:
        if os.getpid() != parent:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert db.get(b"key") == b"value"


def test_fork_without_the_hook(folder: Path) -> None:
    """Calls that would hang in a child raise ForkedProcess even if the fork bypassed Python's hooks."""
    code = (
        "import ctypes, os, sys; from sled_sessions import sled\n"
        "db = sled.open(sys.argv[1])\n"
        "child = ctypes.CDLL(None).fork()\n"
        "if child: sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
        "for call in (db.close, db.flush, lambda: sled.open(temporary=True)):\n"
        "    try: call()\n"
        "    except sled.ForkedProcess: pass\n"
        "    else: os._exit(1)\n"
        "os._exit(0)\n"
    )
    done = python(code, folder)
    assert done.returncode == 0, done.stderr
