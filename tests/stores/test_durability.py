"""What a write waits for, and what a killed process loses for it."""

import subprocess
import sys
import threading
import time
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from sled_sessions import BackendError, Id, SledStore, sled
from sled_sessions.stores.sled import durability
from sled_sessions.stores.sled.durability import GroupCommit

WRITER = """
import sys
from datetime import UTC, datetime, timedelta
from sled_sessions import Id, Record, SledStore, sled

path, durability, flush_every_ms = sys.argv[1:]
db = sled.open(path, flush_every_ms=int(flush_every_ms) or None)
store = SledStore(db.open_tree("session"), durability=durability)
db.flush(fsync=True)
print("open", flush=True)
while True:
    record = store.create(Record(Id.new(), {"n": 0}, datetime.now(UTC) + timedelta(hours=1)))
    print(record.id, flush=True)
    store.update(record.id, lambda now: Record(now.id, {"n": 1}, now.expiry_date + timedelta(minutes=5)))
    store.save(Record(record.id, {"n": 2}, datetime.now(UTC) + timedelta(hours=2)))
    print(record.id, flush=True)
"""


def killed(path, durability, seconds, flush_every_ms=0):
    """Have a process write for some time and kill it; returns what it acknowledged, and when, in order."""
    command = [sys.executable, "-c", WRITER, str(path), durability, str(flush_every_ms)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout.readline() == "open\n"
        until = time.monotonic() + seconds
        acknowledged = []
        while time.monotonic() < until:
            acknowledged.append((writer.stdout.readline().strip(), time.monotonic()))
        writer.kill()
        rest = writer.stdout.read().splitlines(keepends=True)
        acknowledged += [(line.strip(), time.monotonic()) for line in rest if line.endswith("\n")]
    return acknowledged


def lost(path, acknowledged):
    """Of the ids that were acknowledged, those that are not there as they were."""
    versions = {}
    for text, _ in acknowledged:
        versions[text] = 2 if text in versions else 0
    with SledStore.open(path) as store:
        assert store.verify_index().missing == 0
        found = {text: store.load(Id.parse(text)) for text in versions}
        return [text for text, least in versions.items() if found[text] is None or found[text].data["n"] < least]


@pytest.mark.parametrize("durability", ["flush", "fsync"])
def test_nothing_acknowledged_is_lost(tmp_path, durability):
    """With "flush" and "fsync" kill -9 costs nothing that was acknowledged, though sled itself never flushes."""
    for turn in range(3):
        path = tmp_path / f"storage{turn}"
        acknowledged = killed(path, durability, 0.3)
        assert len(acknowledged) > 2
        assert lost(path, acknowledged) == []


def test_an_interval_is_lost(tmp_path):
    """With "interval" kill -9 costs what sled has not flushed yet: without its flushes, the end of what was written."""
    acknowledged = killed(tmp_path / "never", "interval", 0.2)
    gone = lost(tmp_path / "never", acknowledged)
    assert gone
    assert gone[-1] == acknowledged[-1][0]


def test_no_more_than_the_interval_is_lost(tmp_path):
    """With "interval" and sled's default of half a second, what was acknowledged two seconds ago survives."""
    acknowledged = killed(tmp_path / "storage", "interval", 3, flush_every_ms=500)
    old = [(text, at) for text, at in acknowledged if at < acknowledged[-1][1] - 2]
    assert old
    assert lost(tmp_path / "storage", old) == []


def test_writers_share_a_flush(monkeypatch):
    """All who arrive while a flush is under way wait for one more, and for no others."""
    flushes = []
    has_begun, may_go_on, waits = threading.Event(), threading.Event(), threading.Semaphore(0)

    class Turn:
        """A lock that tells of each thread that waits for it."""

        def __init__(self):
            self.lock = threading.Lock()

        def __enter__(self):
            waits.release()
            self.lock.acquire()

        def __exit__(self, *error):
            self.lock.release()

    def flush():
        flushes.append(threading.current_thread())
        has_begun.set()
        assert may_go_on.wait(30)

    monkeypatch.setattr(durability._Flush, "__init__", lambda self: vars(self).update(turn=Turn(), is_done=False))
    group = GroupCommit(flush)
    first = threading.Thread(target=group.wait)
    first.start()
    assert has_begun.wait(30)
    others = [threading.Thread(target=group.wait) for _ in range(8)]
    for each in others:
        each.start()
    for _ in (first, *others):
        assert waits.acquire(timeout=30)
    may_go_on.set()
    for each in (first, *others):
        each.join(30)
    assert len(flushes) == 2


def flush_with(outcomes):
    """A flush with these outcomes, one after the other."""

    def flush():
        if (outcome := outcomes.pop(0)) is not None:
            raise outcome

    return flush


def test_a_second_try_does_not_part_those_who_came_later():
    """Who makes a flush anew that had failed leaves the one together that has gathered for the next."""
    group = GroupCommit(flush_with([OSError("disk full"), None]))
    ours = group._next
    with pytest.raises(OSError, match="disk full"):
        group.wait()
    later, group._next = group._next, ours  # as another one saw it that has waited for the same flush

    class AfterOthers(nullcontext):
        def __enter__(self):
            group._next = later

    group._flushing = AfterOthers()
    group.wait()
    assert ours.is_done
    assert group._next is later


def test_whoever_waits_for_a_flush_that_fails_tries_again():
    """A flush that fails fails for the one who made it; the others make their own."""
    outcomes = [OSError("disk full"), None]
    group = GroupCommit(flush_with(outcomes))
    with pytest.raises(OSError, match="disk full"):
        group.wait()
    group.wait()
    assert outcomes == []


@pytest.mark.slow
@pytest.mark.skipif(sys.version_info[:2] == (3, 14), reason="`with` may skip __exit__ there: python/cpython#148874")
@pytest.mark.parametrize("work", ["store.save(record)", "store.rebuild_index()", "scanned()"])
def test_an_interrupt_leaves_nobody_waiting(tmp_path, work):
    """Whenever Ctrl-C comes, the next writer goes on, and every record has its entry once the store is opened again."""
    code = """
import random, signal, sys, threading
from datetime import UTC, datetime, timedelta
from sled_sessions import Id, Record, SledStore, SweepStrategy

def interrupt(*_): raise KeyboardInterrupt

def scanned():
    SledStore(store.tree, strategy=SweepStrategy.FULL_SCAN)
    SledStore(store.tree)

record = Record(Id.new(), {}, datetime.now(UTC) + timedelta(hours=1))
store = SledStore.open(sys.argv[1], durability="flush")
for _ in range(100): store.save(Record(Id.new(), {}, record.expiry_date))
signal.signal(signal.SIGALRM, interrupt)
for _ in range(300):
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, 2e-3))
        while True: WORK
    except KeyboardInterrupt: pass
    record.id = Id.new()
    writer = threading.Thread(target=store.save, args=[record], daemon=True)
    writer.start()
    writer.join(10)
    assert not writer.is_alive()
store.close()
with SledStore.open(sys.argv[1]) as store:
    assert store.verify_index(), store.verify_index()
""".replace("WORK", work)
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "storage"], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("durability", "writes"), [("interval", 0), ("flush", 4), ("fsync", 4)])
def test_each_write_waits(tmp_path, new_record, durability, writes, monkeypatch):
    """Each write, and no reading call, waits as the durability says."""
    waits = []
    monkeypatch.setattr(GroupCommit, "wait", lambda self: waits.append(self))
    with SledStore.open(tmp_path / "storage", durability=durability) as store:
        record = store.create(new_record())
        store.save(record)
        store.update(record.id, lambda now: now)
        store.load(record.id)
        store.delete(record.id)
        store.delete(record.id)
        store.delete_expired()
    assert len(waits) == writes


@pytest.mark.parametrize(("durability", "fsync"), [("flush", False), ("fsync", True)])
def test_how_far_a_durability_reaches(durability, fsync):
    """With "flush" a write waits for the file, with "fsync" for the disk."""
    asked = []
    GroupCommit.of(SimpleNamespace(flush=lambda fsync: asked.append(fsync)), durability).wait()
    assert asked == [fsync]


@pytest.mark.parametrize("fsync", [False, True])
def test_a_flush_down_to_the_disk(tmp_path, fsync):
    """A store's `flush` is the database's, which is told whether it goes down to the disk."""
    with SledStore.open(tmp_path / "storage") as store:
        store.tree = SimpleNamespace(db=SimpleNamespace(flush=lambda fsync: fsync))
        assert store.flush(fsync=fsync) is fsync


def test_a_failed_flush_is_a_backend_error(tmp_path, new_record, monkeypatch):
    """When the wait fails, the write says so."""
    with SledStore.open(tmp_path / "storage", durability="fsync") as store:
        monkeypatch.setattr(store._group, "_flush", lambda: (_ for _ in ()).throw(sled.SledIOError(28, "disk full")))
        for write in (store.save, store.create):
            with pytest.raises(BackendError, match="disk full"):
                write(new_record())


def test_an_unknown_durability(tmp_path):
    """A word that is none of the three is refused, and names them."""
    with pytest.raises(ValueError, match="'interval', 'flush', 'fsync', not 'always'"):
        SledStore.open(tmp_path / "storage", durability="always")
