"""What a write waits for, and what a killed process loses for it."""

import shutil
import subprocess
import sys
import time

import attrs
import pytest

from sled_sessions import Id, SledStore, sled

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


class Buffered:
    """Stores on one database that sled itself never flushes, and what a killed process would find of it."""

    def __init__(self, db, folder, durability, clock):
        self._db, self._folder, self._clock = db, folder, clock
        self.store = self.open(durability)
        self.unflushed = self.open("interval")
        db.flush()

    def open(self, durability):
        return SledStore(self._db.open_tree("session"), durability=durability, clock=self._clock)

    def data_on_disk(self, id):
        """The data of a session as the files have it."""
        copy = self._folder.with_name("copy")
        shutil.copytree(self._folder, copy)
        with SledStore.open(copy, clock=self._clock) as store:
            record = store.load(id)
        shutil.rmtree(copy)
        return record and record.data


@pytest.fixture
def buffered(request, tmp_path, clock):
    with sled.open(tmp_path / "storage", flush_every_ms=None) as db:
        yield Buffered(db, tmp_path / "storage", request.param, clock)


@pytest.mark.parametrize("buffered", ["flush", "fsync"], indirect=True)
def test_each_write_waits(buffered, new_record):
    """With "flush" and "fsync" every write is in the file when it returns."""
    store = buffered.store
    record = store.create(new_record(n=1))
    assert buffered.data_on_disk(record.id) == {"n": 1}
    store.save(attrs.evolve(record, data={"n": 2}))
    assert buffered.data_on_disk(record.id) == {"n": 2}
    store.update(record.id, lambda now: attrs.evolve(now, data={"n": 3}))
    assert buffered.data_on_disk(record.id) == {"n": 3}
    store.delete(record.id)
    assert buffered.data_on_disk(record.id) is None


@pytest.mark.parametrize("buffered", ["interval"], indirect=True)
def test_no_write_waits_with_interval(buffered, new_record):
    """With "interval" writes return before they are in the file."""
    store, stored, other = buffered.store, new_record(n=1), new_record(n=1)
    store.save(stored)
    store.flush()
    store.create(other)
    store.save(attrs.evolve(stored, data={"n": 2}))
    store.update(stored.id, lambda now: attrs.evolve(now, data={"n": 3}))
    store.delete(stored.id)
    assert buffered.data_on_disk(other.id) is None
    assert buffered.data_on_disk(stored.id) == {"n": 1}


@pytest.mark.parametrize("buffered", ["interval", "flush", "fsync"], indirect=True)
def test_reads_and_sweeps_do_not_wait(buffered, new_record):
    """Loads, deletes of unknown sessions and sweeps flush nothing, whatever the durability."""
    store, waiting, expired = buffered.store, new_record(), new_record(-1)
    buffered.unflushed.save(waiting)
    buffered.unflushed.save(expired)
    assert store.load(waiting.id) == waiting
    assert not store.delete(new_record().id)
    assert store.delete_expired().deleted == 1
    assert buffered.data_on_disk(waiting.id) is None


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
@pytest.mark.parametrize(
    ("durability", "call", "syncs"),
    [
        ("interval", "store.flush()", False),
        ("interval", "store.flush(fsync=True)", True),
        ("flush", "store.save(record)", False),
        ("fsync", "store.save(record)", True),
    ],
)
def test_only_fsync_waits_for_the_disk(tmp_path, durability, call, syncs):
    """Writes with "fsync", and `flush(fsync=True)`, wait for the disk; those with "flush", and `flush()`, do not."""
    code = """
import os, sys
from datetime import UTC, datetime, timedelta
from sled_sessions import Id, Record, SledStore, sled

db = sled.open(sys.argv[1], flush_every_ms=None)
store = SledStore(db.open_tree("session"), durability=sys.argv[2])
record = Record(Id.new(), {}, datetime.now(UTC) + timedelta(hours=1))
os.write(1, b"begin")
CALL
os._exit(0)
""".replace("CALL", call)
    log = tmp_path / "log"
    command = ["strace", "-f", "-qq", "-e", "trace=write,fsync", "-o", log]
    done = subprocess.run(
        [*command, sys.executable, "-c", code, tmp_path / "storage", durability],
        capture_output=True,
        text=True,
        timeout=60,
    )
    if "ptrace" in done.stderr:
        pytest.skip("strace may not trace here")
    assert (done.returncode, done.stdout) == (0, "begin"), done.stderr
    assert ("fsync(" in log.read_text().partition('"begin"')[2]) is syncs


@pytest.mark.parametrize("durability", ["flush", "fsync"])
def test_a_failed_flush_is_a_backend_error(tmp_path, durability):
    """When sled buffers a write but the flush that it waits for fails, the write raises BackendError."""
    code = """
import os, resource, sys
from datetime import UTC, datetime, timedelta
from sled_sessions import BackendError, Id, Record, SledStore, sled

def new_record(): return Record(Id.new(), {}, datetime.now(UTC) + timedelta(hours=1))

db = sled.open(sys.argv[1], flush_every_ms=None)
tree = db.open_tree("session")
store, buffering = SledStore(tree, durability=sys.argv[2]), SledStore(tree)
db.flush(fsync=True)
size = os.path.getsize(sys.argv[1] + "/db")
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
buffering.save(new_record())
for write in store.save, store.create:
    try:
        write(new_record())
    except BackendError as error:
        print(error, flush=True)
os._exit(0)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "storage", durability], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("File too large") == 2


def test_an_unknown_durability(tmp_path):
    """A word that is none of the three is refused, and names them."""
    with pytest.raises(ValueError, match="'interval', 'flush', 'fsync', not 'always'"):
        SledStore.open(tmp_path / "storage", durability="always")
