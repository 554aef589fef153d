"""What each durability makes a write wait for, and what a run_and_kill process loses."""

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


def run_and_kill(path, durability, seconds, flush_every_ms=0):
    """Run a writer for some seconds and kill it; return the ids it acknowledged, each with the time, in order."""
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


def lost_ids(path, acknowledged):
    """Return the acknowledged ids whose record is missing or older than acknowledged."""
    versions = {}
    for text, _ in acknowledged:
        versions[text] = 2 if text in versions else 0
    with SledStore.open(path) as store:
        assert store.verify_index().missing == 0
        found = {text: store.load(Id.parse(text)) for text in versions}
        return [text for text, least in versions.items() if found[text] is None or found[text].data["n"] < least]


@pytest.mark.parametrize("durability", ["flush", "fsync"])
def test_kill_loses_no_acknowledged_write(tmp_path, durability):
    """With "flush" and "fsync", kill -9 loses no acknowledged write, even if sled itself never flushes."""
    for turn in range(3):
        path = tmp_path / f"storage{turn}"
        acknowledged = run_and_kill(path, durability, 0.3)
        assert len(acknowledged) > 2
        assert lost_ids(path, acknowledged) == []


def test_kill_loses_unflushed_writes(tmp_path):
    """With "interval", kill -9 loses the most recent writes, which sled has not flushed."""
    acknowledged = run_and_kill(tmp_path / "never", "interval", 0.2)
    lost = lost_ids(tmp_path / "never", acknowledged)
    assert lost
    assert lost[-1] == acknowledged[-1][0]


def test_kill_loses_at_most_the_interval(tmp_path):
    """With "interval" and sled flushing twice a second, writes acknowledged two seconds before the kill survive."""
    acknowledged = run_and_kill(tmp_path / "storage", "interval", 3, flush_every_ms=500)
    older = [(text, at) for text, at in acknowledged if at < acknowledged[-1][1] - 2]
    assert older
    assert lost_ids(tmp_path / "storage", older) == []


@pytest.mark.slow
@pytest.mark.skipif(sys.version_info[:2] == (3, 14), reason="`with` may skip __exit__ on 3.14: python/cpython#148874")
@pytest.mark.parametrize("work", ["store.save(record)", "store.rebuild_index()", "scanned()"])
def test_interrupt_releases_all_locks(tmp_path, work):
    """After Ctrl-C at any moment the next writer proceeds, and after reopening every record has its entry."""
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
    writer = threading.Thread(target=store.save, args=[record], daemon=True)
    writer.start()
    writer.join(10)
    assert not writer.is_alive()
    record.id = Id.new()
store.close()
with SledStore.open(sys.argv[1]) as store:
    assert store.verify_index(), store.verify_index()
""".replace("WORK", work)
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "storage"], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr


class BufferedStores:
    """Stores on a database that sled itself never flushes, and a view of what its files hold."""

    def __init__(self, db, folder, durability, clock):
        self._db, self._folder, self._clock = db, folder, clock
        self.store = self.open(durability)
        self.unflushed = self.open("interval")
        db.flush()

    def open(self, durability):
        return SledStore(self._db.open_tree("session"), durability=durability, clock=self._clock)

    def data_on_disk(self, id):
        """Return the data of a session as the files hold it, or None if they have no such session."""
        copy = self._folder.with_name("copy")
        shutil.copytree(self._folder, copy)
        with SledStore.open(copy, clock=self._clock) as store:
            record = store.load(id)
        shutil.rmtree(copy)
        return record and record.data


@pytest.fixture
def buffered(request, tmp_path, clock):
    with sled.open(tmp_path / "storage", flush_every_ms=None) as db:
        yield BufferedStores(db, tmp_path / "storage", request.param, clock)


@pytest.mark.parametrize("buffered", ["flush", "fsync"], indirect=True)
def test_writes_wait_for_the_file(buffered, new_record):
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
def test_interval_writes_return_at_once(buffered, new_record):
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


def test_interval_is_a_tenth_of_a_second(tmp_path, new_record):
    """A store that opened its database writes to the file about ten times a second, where sled's default is twice."""
    file, moments = tmp_path / "storage" / "db", set()
    with SledStore.open(tmp_path / "storage") as store:
        until = time.monotonic() + 2
        while time.monotonic() < until:
            store.save(new_record())
            moments.add(file.stat().st_mtime_ns)
            time.sleep(0.01)
    assert len(moments) > 7


@pytest.mark.parametrize("buffered", ["interval", "flush", "fsync"], indirect=True)
def test_reads_and_sweeps_do_not_wait(buffered, new_record):
    """Loads, deletes of unknown sessions and sweeps flush nothing, whatever the durability."""
    store, live, expired = buffered.store, new_record(), new_record(-1)
    buffered.unflushed.save(live)
    buffered.unflushed.save(expired)
    assert store.load(live.id) == live
    assert not store.delete(new_record().id)
    assert store.delete_expired().deleted == 1
    assert buffered.data_on_disk(live.id) is None


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
    """Saves with "fsync", and `flush(fsync=True)`, call fsync; saves with "flush", and `flush()`, do not."""
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
        pytest.skip("strace is not allowed to trace")
    assert (done.returncode, done.stdout) == (0, "begin"), done.stderr
    assert ("fsync(" in log.read_text().partition('"begin"')[2]) is syncs


@pytest.mark.parametrize("durability", ["flush", "fsync"])
def test_failed_flush_raises_backend_error(tmp_path, durability):
    """A write raises BackendError if sled buffers it but the flush it waits for fails."""
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


def test_unknown_durability_is_refused(tmp_path):
    """An unknown durability raises ValueError, which lists the three."""
    with pytest.raises(ValueError, match="'interval', 'flush', 'fsync', not 'always'"):
        SledStore.open(tmp_path / "storage", durability="always")
