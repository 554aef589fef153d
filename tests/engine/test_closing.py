"""Closing: the folder is free at once, later calls raise ClosedError, and no data is lost."""

import contextlib
import gc
import re
import select
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from engine.calls import CALLS, calls, elsewhere
from engine.processes import python, running

from sled_sessions import sled
from sled_sessions.sled import _native


def test_frees_the_folder_at_once(db: sled.Db) -> None:
    """After close() another process can open the folder, even while trees, iterators and watchers are referenced."""
    tree = db.open_tree("tree")
    for number in range(2000):
        db.insert(number.to_bytes(4, "big"), bytes(100))
    iterator, watcher = iter(db), tree.watch()
    next(iterator)
    export = db.export()
    db.close()
    assert elsewhere(db.path) == "2000"
    with sled.open(db.path) as again:
        assert len(again) == 2000
    del iterator, watcher, export


@pytest.mark.parametrize("name", CALLS)
def test_use_after_close(db: sled.Db, name: str) -> None:
    """Every call on a closed database raises ClosedError, and the message names the database."""
    call = calls(db)[name]
    db.close()
    with pytest.raises(sled.ClosedError, match=f"the database {db.path} is closed: open it again"):
        call()


def test_names_and_reprs_after_close(db: sled.Db) -> None:
    """Names and reprs work after close(), and closing again does nothing."""
    tree = db.open_tree("tree")
    db.close()
    db.close()
    assert (tree.name, tree.db, db.was_recovered) == (b"tree", db, False)
    assert "closed" in repr(db)


def test_context_manager(folder: Path) -> None:
    """A with block closes the database even if it ends with an exception, which is passed on."""
    with pytest.raises(KeyError), sled.open(folder) as db:
        raise KeyError
    with pytest.raises(sled.ClosedError):
        db.get(b"key")


def test_garbage_collection(folder: Path) -> None:
    """A database without references is closed; a tree or an iterator keeps it open."""
    iterator = iter(sled.open(folder).open_tree("tree"))
    gc.collect()
    with pytest.raises(sled.DatabaseLocked):
        sled.open(folder)
    del iterator
    gc.collect()
    sled.open(folder).close()


def test_interpreter_exit(folder: Path) -> None:
    """A program that does not close its database loses nothing, even without a flush thread."""
    code = (
        "import sys; from sled_sessions import sled\n"
        "db = sled.open(sys.argv[1], flush_every_ms=None); tree = db.open_tree('t'); it = iter(db)\n"
        "for number in range(1000): db.insert(number.to_bytes(4, 'big'), b'value')\n"
    )
    done = python(code, folder)
    assert (done.returncode, done.stderr) == (0, "")
    with sled.open(folder) as db:
        assert len(db) == 1000


def test_exit_with_running_threads(folder: Path) -> None:
    """The interpreter exits cleanly while daemon threads read, write, iterate and wait for events."""
    code = """
import sys, threading, time
from sled_sessions import sled
db = sled.open(sys.argv[1])
def forever(work):
    while True:
        try: work()
        except (sled.SledError, StopIteration): time.sleep(0.001)
watcher = db.watch()
works = [lambda: db.insert(b"k", b"v"), lambda: db.remove(b"k"), lambda: list(db), lambda: next(watcher)]
for work in works: threading.Thread(target=forever, args=[work], daemon=True).start()
time.sleep(0.3)
"""
    done = python(code, folder)
    assert (done.returncode, done.stderr) == (0, "")
    sled.open(folder).close()


@pytest.mark.slow
def test_exit_during_an_endless_transaction(folder: Path) -> None:
    """The interpreter exits during a daemon thread's endless transaction, and names the databases it cannot close."""
    code = """
import sys, threading
from sled_sessions import sled
db, other = sled.open(sys.argv[1]), sled.open(sys.argv[1] + ".other")
db.insert(b"key", b"value")
db.flush()
begun = threading.Event()
def stay(tree):
    tree.insert(b"unfinished", b"value")
    begun.set()
    threading.Event().wait()
threading.Thread(target=sled.transaction, args=[stay, db], daemon=True).start()
begun.wait()
"""
    done = python(code, folder)
    assert done.returncode == 0
    assert len(re.findall(f"{folder}[^ ]* is left as a kill would leave it: a transaction's", done.stderr)) == 2
    with sled.open(folder) as db, sled.open(f"{folder}.other") as other:
        assert (dict(db), dict(other)) == ({b"key": b"value"}, {})


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_exit_while_transactions_come_and_go(folder: Path) -> None:
    """On a slow disk too, the exit closes a database while other databases' transactions come and go."""
    other = folder.parent / "other"
    acts = f"""
import threading, time
other = sled.open({str(other)!r})
def forever():
    while True: sled.transaction(lambda tree: time.sleep(.02), other)
db.insert(b"key", b"value")
threading.Thread(target=forever, daemon=True).start()
"""
    slow = ("--inject=fsync:delay_enter=3000000", f"--trace-path={folder / 'db'}")
    assert "left as a kill would leave it" not in traced(acts, folder, *slow)
    with sled.open(folder) as db:
        assert db.get(b"key") == b"value"


@pytest.mark.slow
def test_calls_after_an_exit_that_timed_out(folder: Path) -> None:
    """Exit handlers that run after the wait for a transaction timed out get ClosedError at once."""
    code = """
import atexit, sys, threading
def late():
    for call in (db.flush, lambda: len(tree), lambda: tree.clear(), db.size_on_disk, db.tree_names, db.close):
        try: print(call())
        except sled.ClosedError: print("closed")
atexit.register(late)  # runs last
from sled_sessions import sled
db = sled.open(sys.argv[1]); tree = db.open_tree("tree")
begun = threading.Event()
def stay(_):
    begun.set()
    threading.Event().wait()
threading.Thread(target=sled.transaction, args=[stay, db], daemon=True).start()
begun.wait()
"""
    done = python(code, folder)
    assert (done.returncode, done.stdout.split()) == (0, ["closed"] * 5 + ["None"])


@pytest.mark.parametrize("end", ["", "box.clear()", "try: int(box.pop())\nexcept TypeError: pass"])
def test_failing_last_write(folder: Path, end: str) -> None:
    """If the last write of an unclosed database fails, the error is printed and does not hide another exception."""
    code = f"""
import resource, signal, sys
from sled_sessions import sled
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
box = [sled.open(sys.argv[1], flush_every_ms=None)]
for number in range(1000): box[0].insert(number.to_bytes(4, "big"), bytes(100))
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
{end}
"""
    done = python(code, folder)
    assert done.returncode == 0
    assert re.search(f"closing the database {folder}.*SledIOError: .*File too large", done.stderr, re.DOTALL)


def test_close_all_inside_a_transaction(db: sled.Db) -> None:
    """close_all() does nothing inside a transaction, where it would deadlock."""
    sled.transaction(lambda tree: (_native.close_all(), tree.insert(b"key", b"value")), db)
    assert db.get(b"key") == b"value"


def test_lock_passed_to_another_process(folder: Path) -> None:
    """close() does not wait for a lock that another process holds, such as one that has taken over the folder."""
    code = (
        "import ctypes, os, sys; from sled_sessions import sled\n"
        "db = sled.open(sys.argv[1]); reader, writer = os.pipe()\n"
        "if ctypes.CDLL(None).fork() == 0:\n"  # bypasses Python's hooks, so the child keeps the lock
        "    os.close(writer); os.read(reader, 1); os._exit(0)\n"  # when its parent ends
        "print('ready', flush=True); sys.stdin.readline(); db.close(); print('closed', flush=True)\n"
    )
    with running(code, folder) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], 4)  # twice what an idle machine needs
        assert ready


def test_closing_under_load(folder: Path) -> None:
    """close() returns while other threads make calls, and each of them gets only ClosedError."""
    for _ in range(5):
        db = sled.open(folder)
        works = [work for name, work in calls(db).items() if name not in {"drop_tree", "watch", "import_"}]
        ends: list[type[BaseException]] = []

        def forever(mine: list[Callable[[], object]], ends: list[type[BaseException]] = ends) -> None:
            try:
                while True:
                    for work in mine:
                        with contextlib.suppress(StopIteration):
                            work()
            except BaseException as error:  # noqa: BLE001 - checked below
                ends.append(type(error))

        threads = [threading.Thread(target=forever, args=[works[start:] + works[:start]]) for start in range(0, 30, 5)]
        for thread in threads:
            thread.start()
        time.sleep(0.1)
        db.close()
        sled.open(folder).close()
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()
        assert ends == [sled.ClosedError] * len(threads)


def test_closing_from_many_threads(db: sled.Db) -> None:
    """When several threads close a database, each call returns when the folder is free."""
    db.insert(b"key", b"value")
    failures: list[BaseException] = []
    barrier = threading.Barrier(4)

    def close() -> None:
        barrier.wait()
        try:
            db.close()
        except BaseException as error:  # noqa: BLE001 - checked below
            failures.append(error)

    threads = [threading.Thread(target=close) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert failures == []
    assert elsewhere(db.path) == "1"


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_fsync(folder: Path) -> None:
    """flush(fsync=True) and close() fsync the database's file; a plain flush does not."""
    acts = """
for act in (db.flush, lambda: db.flush(fsync=True), db.close):
    db.insert(os.urandom(8), b"value"); os.write(1, b"act\\n"); act()
os.write(1, b"end\\n")
"""
    calls_of = traced(acts, folder).split('"act')[1:]
    synced = [f"<{folder}/db>" in "".join(line for line in part.splitlines() if "fsync(" in line) for part in calls_of]
    assert synced == [False, True, True]


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_a_new_database_is_durable(folder: Path) -> None:
    """The mark of an unfinished database is removed only after its files and all parent folders are fsynced."""
    top, folder = folder.parent, folder / "below" / "it"
    before, _ = re.split(r'unlink.*/creating"', traced("db.close()", folder), maxsplit=1)
    synced = set(re.findall(r"fsync\(\d+<(.*?)>", before))
    named = {path for path in folder.parents if path.is_relative_to(top)}
    assert synced >= {str(path) for path in (folder / "db", folder / "conf", folder, *named)}


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_file_system_that_cannot_fsync_folders(folder: Path) -> None:
    """A database opens on file systems that cannot fsync a folder, such as some network file systems."""
    acts = 'db.insert(b"large", bytes(300_000)); db.flush(fsync=True); db.close(); print("closed")'
    folders = (folder.parent, folder, folder / "blobs")
    said = traced(acts, folder, "--inject=fsync:error=EINVAL", *(f"--trace-path={path}" for path in folders))
    assert said.count("INJECTED") == 6


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_fsync_of_blobs(folder: Path) -> None:
    """An fsync syncs the files of large values, each once, before the log that names them is written."""
    acts = "db.insert(b'large', os.urandom(300_000)); db.flush(fsync=True); db.flush(fsync=True)"
    _, after = traced(acts, folder).split('/creating"')  # removed when the database has been created
    calls = re.findall(rf"(fsync|pwrite64)\(\d+<{re.escape(str(folder))}/([a-z]+)", after)
    first = [("fsync", "blobs"), ("fsync", "blobs"), ("pwrite64", "db"), ("fsync", "db")]  # a file, its folder, the log
    assert calls[:4] == first
    assert calls.count(("fsync", "blobs")) == 2


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_fsync_of_an_unfinished_blob(folder: Path) -> None:
    """A file that sled was still writing during one fsync is synced again by the next."""
    acts = """
blob = os.path.join(sys.argv[1], "blobs", "1")
for part in (b"begun", b", and finished", b""):
    with open(blob, "ab") as file: file.write(part)
    db.flush(fsync=True)
"""
    assert len(re.findall(r"fsync\(\d+<[^>]+/blobs/1>", traced(acts, folder))) == 2


def traced(acts: str, folder: Path, *options: str) -> str:
    """The strace of the writes, fsyncs and removals of a program that opens the folder and runs ``acts``."""
    code = f"import os, sys; from sled_sessions import sled\ndb = sled.open(sys.argv[1], flush_every_ms=None)\n{acts}"
    command = [
        "strace",
        "-f",
        "-qq",
        "-y",
        "-e",
        "trace=fsync,write,pwrite64,unlink,unlinkat",
        *options,
        sys.executable,
        "-c",
        code,
        str(folder),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if "ptrace" in done.stderr:
        pytest.skip("strace is not permitted here")
    return done.stderr


def test_killed(folder: Path) -> None:
    """Everything that flush(fsync=True) acknowledged survives a kill."""
    code = (
        "import os, signal, sys; from sled_sessions import sled\n"
        "db = sled.open(sys.argv[1], flush_every_ms=None)\n"
        "for number in range(500): db.insert(number.to_bytes(4, 'big'), bytes(300))\n"
        "assert db.flush(fsync=True) > 0\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert python(code, folder).returncode == -9
    with sled.open(folder) as db:
        assert len(db) == 500


def test_memory_is_returned(folder: Path) -> None:
    """close() returns most of the memory that the database took to the system, without any call after it."""
    code = """
import sys
from sled_sessions import sled
def resident(): return int(open("/proc/self/statm").read().split()[1]) * 4096
before = resident()
db = sled.open(sys.argv[1])
for number in range(150_000): db.insert(number.to_bytes(8, "big"), bytes(300))
held = resident() - before
db.close()
print(held, resident() - before)
"""
    held, left = map(int, python(code, folder).stdout.split())
    assert held > 50_000_000
    assert left < held / 2
