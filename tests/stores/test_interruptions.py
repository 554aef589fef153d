"""Signal handlers and finalizers that use a store in the middle of another call of it.

Each test runs in a process of its own with a time limit, so that a wait for ever is a failure.
"""

import subprocess
import sys

import pytest

STORES = {
    "interval": 'SledStore.open(folder, durability="interval")',
    "flush": 'SledStore.open(folder, durability="flush")',
    "fsync": 'SledStore.open(folder, durability="fsync")',
    "memory": "MemoryStore()",
    "caching": 'CachingStore(MemoryStore(), SledStore.open(folder, durability="flush"))',
}

PRELUDE = """
import gc, itertools, os, random, signal, sys, threading, time
from datetime import UTC, datetime, timedelta
from sled_sessions import CachingStore, Id, MemoryStore, Record, SledStore, Sweeper

folder, far = sys.argv[1], datetime.now(UTC) + timedelta(hours=1)

def record(id=None, **data):
    return Record(id or Id.new(), data, far)

def interrupt_with(handle):
    # Calls it again and again, each time in a handler, at random moments.
    def handle_and_go_on(*_):
        handle()
        signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-5, 2e-3))

    signal.signal(signal.SIGALRM, handle_and_go_on)
    signal.setitimer(signal.ITIMER_REAL, 1e-3)

def end_interruptions():
    signal.signal(signal.SIGALRM, signal.SIG_IGN)

def check(store, kept, gone):
    assert all(store.load(id) == stored for id, stored in kept.items())
    assert not any(store.load(id) for id in gone)
    durable = getattr(store, "store", store)
    if isinstance(durable, SledStore):
        assert durable.verify_index().missing == 0
    for each in {store, durable, getattr(store, "cache", store)}:
        if not isinstance(each, CachingStore):
            assert sum(1 for _ in each.expiring()) == each.count() == len(kept) + OTHERS
"""


def run(code, folder, store="None"):
    code = PRELUDE + f"store = {store}\n" + code
    command = [sys.executable, "-X", "faulthandler", "-c", code, folder / "storage"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


@pytest.mark.parametrize("store", STORES.values(), ids=STORES)
def test_handler_that_writes_other_sessions(tmp_path, store):
    """A handler may save, update and delete other sessions at any moment of a save, also while other threads write."""
    run(
        """
OTHERS = 3
sys.setswitchinterval(1e-4)
kept, gone = {}, []

def handle():
    kept_one, gone_one = record(n=1), record()
    store.save(kept_one)
    store.update(kept_one.id, lambda now: record(now.id, n=2))
    kept[kept_one.id] = record(kept_one.id, n=2)
    gone_one = store.create(gone_one)
    assert store.delete(gone_one.id)
    gone.append(gone_one.id)

def write(mine):
    for n in itertools.count():
        store.save(Record(mine.id, {"n": n}, far + timedelta(seconds=n)))
        if len(kept) >= 100: return

others = [threading.Thread(target=write, args=[record()], daemon=True) for _ in range(2)]
for other in others: other.start()
interrupt_with(handle)
write(record())
end_interruptions()
for other in others: other.join()
check(store, kept, gone)
""",
        tmp_path,
        store,
    )


@pytest.mark.parametrize("store", STORES.values(), ids=STORES)
def test_handler_that_writes_the_same_session(tmp_path, store):
    """A handler's save of the session that is being saved succeeds between two saves and raises inside of one.

    A session's record and its entry in the index agree afterwards, and what a handler has deleted stays deleted.
    """
    outcomes = run(
        """
OTHERS = 0
mine, outcomes = record(), {"saved": 0, "raised": 0}

def handle():
    try:
        store.delete(mine.id)
        store.save(Record(mine.id, {"handler": True}, far - timedelta(minutes=1)))
        outcomes["saved"] += 1
    except RuntimeError as error:
        assert "middle of another call" in str(error)
        outcomes["raised"] += 1

interrupt_with(handle)
for n in itertools.count():
    store.save(Record(mine.id, {"n": n}, far + timedelta(seconds=n)))
    if sum(outcomes.values()) >= 100: break
end_interruptions()
store.save(record(mine.id, last=True))
check(store, {mine.id: record(mine.id, last=True)}, [])
print("raised" if outcomes["raised"] else "")
""",
        tmp_path,
        store,
    )
    assert outcomes == "raised\n"


@pytest.mark.parametrize("durability", ["interval", "flush", "fsync"])
def test_last_save_on_sigterm(tmp_path, durability):
    """A SIGTERM handler that saves a last record, closes the store and exits does so in the middle of a save."""
    run(
        """
last = record(last=1)

def stop(*_):
    store.save(last)
    store.close()
    with SledStore.open(folder) as reopened:
        assert reopened.load(last.id) == last
        assert reopened.verify_index().missing == 0
    os._exit(0)

signal.signal(signal.SIGTERM, stop)
threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGTERM]).start()
while True: store.save(record())
""",
        tmp_path,
        STORES[durability],
    )


@pytest.mark.parametrize("store", STORES.values(), ids=STORES)
def test_finalizers(tmp_path, store):
    """Objects in reference cycles may save and delete sessions when a garbage collection comes inside of a save."""
    run(
        """
OTHERS = 0
kept, gone = {}, []

class Visitor:
    def __init__(self):
        self.me = self
        self.id = store.create(record(visits=1)).id

    def __del__(self):
        assert store.delete(self.id)
        gone.append(self.id)
        last = record()
        store.save(last)
        kept[last.id] = last

gc.set_threshold(7)
def visit():
    for _ in range(100): Visitor()

threads = [threading.Thread(target=visit) for _ in range(2)]
for thread in threads: thread.start()
visit()
for thread in threads: thread.join()
gc.collect()
assert len(gone) == 300
check(store, kept, gone)
""",
        tmp_path,
        store,
    )


@pytest.mark.parametrize("store", ["MemoryStore(clock=clock)", "CachingStore(MemoryStore(), MemoryStore(clock=clock))"])
def test_sweeper_that_waits_for_what_the_handler_has_interrupted(tmp_path, store):
    """`Sweeper.stop` in a handler returns while the sweep waits for the interrupted call, and the thread ends later."""
    run(
        """
now = datetime.now(UTC)
store = STORE
sweeper = Sweeper(store, 0.01, jitter=0)
signal.signal(signal.SIGTERM, lambda *_: sweeper.stop())

def change(current):
    global now
    current.data["changed"] = True
    now += timedelta(hours=2)  # the sweeper finds the session expired, and waits for this update
    sweeper.start()
    time.sleep(0.3)
    signal.raise_signal(signal.SIGTERM)
    return Record(current.id, current.data, far + timedelta(hours=5))

mine = store.create(record())
assert store.update(mine.id, change).data == {"changed": True}
while any(thread.name == "sled_sessions sweeper" for thread in threading.enumerate()): time.sleep(0.01)
assert store.load(mine.id) is not None
""".replace("STORE", store),
        tmp_path,
        "clock = lambda: now",
    )


def test_stopping_in_a_handler(tmp_path):
    """A handler may stop the sweeper at any moment of a save, a sweep, a start or another stop."""
    run(
        """
stops, sweeper = 0, Sweeper(store, 0.001)

def stop():
    global stops
    stops += 1
    sweeper.stop()

interrupt_with(stop)
while stops < 100:
    for seconds in (-1, 1): store.save(Record(Id.new(), {}, datetime.now(UTC) + timedelta(seconds=seconds)))
    sweeper.stop()
    sweeper.start()
    store.delete_expired()
end_interruptions()
sweeper.stop()
while any(thread.name == "sled_sessions sweeper" for thread in threading.enumerate()): time.sleep(0.01)
""",
        tmp_path,
        STORES["flush"],
    )


def test_session_used_by_a_handler(tmp_path):
    """A handler that uses a session while it is loaded finds it whole, or raises; other sessions go through."""
    run(
        """
from sled_sessions import Session
data = {str(n): n for n in range(2000)}
session, raised = None, 0

def handle():
    global raised
    assert Session(lambda: record(a=1))["a"] == 1
    try:
        assert session is None or len(session) == 2000
    except RuntimeError:
        raised += 1

interrupt_with(handle)
end = time.monotonic() + 1
while time.monotonic() < end:
    session = Session(lambda: record(**data))
    assert len(session) == 2000
end_interruptions()
""",
        tmp_path,
    )
