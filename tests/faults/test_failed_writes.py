"""Writes that the file system refuses: the database counts as failed, nothing hangs, nothing acknowledged is lost."""

import ast
import contextlib
import json
import os
import shutil
import subprocess
import sys

import pytest

from sled_sessions import SledStore

from .test_disk import mounted

SECONDS = 60

LARGE, SMALL = 30_000, 300

# Saves until a save fails, then tries everything else. Prints a line of JSON for each step.
PROGRAM = """
import contextlib, json, os, resource, shutil, sys, threading, time
from datetime import UTC, datetime
from sled_sessions import Id, Record, SessionError, SledStore, sled

folder, durability, size, fault = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
held = []


def tell(step, what):
    line = json.dumps([step, what, round(time.monotonic() - began, 2)])
    os.write(1, line.encode() + b"\\n")  # one call, so that the lines of threads do not mix


def attempt(step, call):
    global began
    began = time.monotonic()
    try:
        tell(step, repr(call()))
    except Exception as error:
        tell(step, [type(error).__name__, type(error.__cause__).__name__, str(error)])


def save(size=size):
    record = Record(Id.new(), {"pad": os.urandom(size // 2).hex()}, datetime(2099, 1, 1, tzinfo=UTC))
    store.save(record)
    return record.id


def loadable():
    "The share of the acknowledged sessions that can be read."
    found = 0
    for _, id in acknowledged[:1000]:
        with contextlib.suppress(SessionError):
            found += store.load(Id.parse(id)) is not None
    return found / len(acknowledged[:1000])


def break_it():
    if fault == "descriptors":
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        while True:
            try:
                held.append(os.open("/dev/null", os.O_RDONLY))
            except OSError:
                return
    elif fault == "size":
        limit = os.path.getsize(folder + "/db") + 200_000
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    elif fault == "disk":
        open(folder + "/../filler", "wb").write(bytes(4_000_000))
    elif fault == "removed":
        shutil.rmtree(folder)
    elif fault == "renamed":
        os.rename(folder, folder + "-elsewhere")
    elif fault == "permissions":
        os.setuid(65534)


def save_until_refused():
    end = time.monotonic() + 20
    while time.monotonic() < end:
        acknowledged.append((time.monotonic(), str(save())))


acknowledged = []
store = SledStore.open(folder, durability=durability)
began = time.monotonic()
first = save()
store.flush(fsync=True)
tell("first", [str(first), repr(store.failure)])
break_it()
threads = [threading.Thread(target=attempt, args=("thread", save_until_refused)) for _ in range(3)]
for thread in threads:
    thread.start()
attempt("refused", save_until_refused)
for thread in threads:
    thread.join()
for descriptor in held:
    os.close(descriptor)
if fault == "disk":
    os.remove(folder + "/../filler")
refused_at = time.monotonic()
attempt("small", lambda: save(10))
attempt("large", lambda: save(30_000))
attempt("flush", store.flush)
attempt("sync", lambda: store.flush(fsync=True))
attempt("load", loadable)
attempt("failure", lambda: str(store.failure))
attempt("close", store.close)
tell("acknowledged", [id for at, id in acknowledged if durability != "interval" or at < refused_at - 5])
if fault in {"descriptors", "disk"}:
    attempt("reopen", lambda: SledStore.open(folder).save(Record(Id.new(), {}, datetime(2099, 1, 1, tzinfo=UTC))))
"""


@contextlib.contextmanager
def reachable(folder):
    """Let other users enter a folder meanwhile."""
    with contextlib.ExitStack() as stack:
        for parent in [*folder.parents[:-2], folder]:
            mode = parent.stat().st_mode
            parent.chmod(mode | 0o055)
            stack.callback(parent.chmod, mode)
        yield


def run(folder, durability, size, fault):
    """What the program prints for each step."""
    command = [sys.executable, "-c", PROGRAM, folder, durability, str(size), fault]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    return {step: (what, seconds) for step, what, seconds in map(json.loads, done.stdout.splitlines())}


def check(steps, *, final="close"):
    """The first refused save raises, all later writes raise one error at once, reads go on.

    sled cannot read the few pages whose split or merge it could not finish.
    """
    assert steps["first"][0][1] == "None"
    assert steps["refused"][0][:2] == ["BackendError", "SledIOError"]
    message = ast.literal_eval(steps["failure"][0])
    assert "open it again" in message
    for step in ("small", "large", "flush", "sync", final):
        (error, cause, text), seconds = steps[step]
        assert (error, cause) == ("BackendError", "SledIOError"), step
        assert text == message
        assert seconds < 10 if step == "close" else seconds < 1
    assert float(steps["load"][0]) > 0.3


def check_content(folder, steps):
    """The next open has everything that was acknowledged by its promise."""
    with SledStore.open(folder) as store:
        found = {str(record.id) for record in store.records()}
        assert found >= {steps["first"][0][0], *steps["acknowledged"][0]}
        report = store.verify_index()
        assert (report.missing, report.undecodable) == (0, 0)


@pytest.mark.parametrize("durability", ["interval", "flush"])
def test_too_many_open_files(tmp_path, durability):
    """A large page that cannot be written because of the limit of open files fails the database."""
    steps = run(tmp_path / "storage", durability, LARGE, "descriptors")
    check(steps)
    assert steps["reopen"][0] == "None"
    check_content(tmp_path / "storage", steps)


def test_too_many_open_files_while_waiting_for_the_disk(tmp_path):
    """With "fsync" a save may fail because it cannot open the new file to fsync it; then the database may be sound."""
    steps = run(tmp_path / "storage", "fsync", LARGE, "descriptors")
    if steps["failure"][0] == "'None'":
        assert steps["refused"][0][:2] == ["BackendError", "SledIOError"]
        assert steps["close"][0] == "None"
    else:
        check(steps)
    check_content(tmp_path / "storage", steps)


def test_open_files_do_not_matter_to_small_records(tmp_path):
    """Small records need no new file: beyond the limit of open files they are saved as before, and nothing fails."""
    program = PROGRAM.replace("time.monotonic() + 20", "time.monotonic() + 1")
    command = [sys.executable, "-c", program, tmp_path / "storage", "flush", str(SMALL), "descriptors"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)
    steps = {step: what for step, what, _ in map(json.loads, done.stdout.splitlines())}
    assert steps["failure"] == "'None'"
    assert steps["close"] == "None"
    check_content(tmp_path / "storage", {"first": (steps["first"], 0), "acknowledged": (steps["acknowledged"], 0)})


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("durability", ["interval", "flush"])
def test_full_disk(tmp_path, size, durability):
    """A full disk fails the database, also when there is space again; a new open heals it."""
    with mounted(tmp_path / "disk", "size=8m") as disk:
        steps = run(disk / "storage", durability, size, "disk")
        check(steps)
        check_content(disk / "storage", steps)


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_limit_of_file_size(tmp_path, size):
    """A limit of the file's size fails the database."""
    steps = run(tmp_path / "storage", "flush", size, "size")
    check(steps)
    check_content(tmp_path / "storage", steps)


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("fault", ["removed", "renamed"])
def test_folder_is_gone(tmp_path, size, fault):
    """Removing or renaming the folder of an open database fails it, also for records that need no new file."""
    steps = run(tmp_path / "storage", "interval", size, fault)
    check(steps)
    if fault == "renamed":
        check_content(tmp_path / "storage-elsewhere", steps)
    else:
        assert not (tmp_path / "storage").exists()


def test_folder_without_permission(tmp_path):
    """A folder in which no new file may be created fails the database as soon as a page needs one."""
    if os.geteuid():
        pytest.skip("only root can become another user")
    folder = tmp_path / "storage"
    with reachable(tmp_path):
        steps = run(folder, "flush", LARGE, "permissions")
    check(steps)
    check_content(folder, steps)


@pytest.mark.parametrize("limit", [2, 5, 9])
def test_no_threads(tmp_path, limit):
    """A process that may not start sled's threads cannot open a database: the first flush would wait for ever."""
    if os.geteuid():
        pytest.skip("only root can become another user")
    program = (
        "import os, resource, sys; from sled_sessions import sled; os.chmod(sys.argv[1], 0o777); os.chdir(sys.argv[1]);"
        "os.setuid(54321); resource.setrlimit(resource.RLIMIT_NPROC, (int(sys.argv[2]),) * 2); sled.open('storage')"
    )
    command = [sys.executable, "-c", program, tmp_path, str(limit)]
    with reachable(tmp_path):
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert "SledIOError: [Errno 11] Resource temporarily unavailable" in done.stderr


def test_exit_after_a_failed_write(tmp_path):
    """A process that ends with a failed database in use ends at once, and says that the database had failed."""
    program = PROGRAM.replace('attempt("close", store.close)', "sys.exit()")
    command = [sys.executable, "-c", program, tmp_path / "storage", "interval", str(LARGE), "descriptors"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0
    assert "Too many open files" in done.stderr
    with SledStore.open(tmp_path / "storage") as store:
        assert store.count() >= 1
    shutil.rmtree(tmp_path / "storage")
