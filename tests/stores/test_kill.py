"""A process that writes sessions to a database is killed, again and again."""

import json
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest
from command import COMMAND

from sled_sessions import Id, Record, SledStore, SweepStrategy, sled

pytestmark = pytest.mark.slow

ROUNDS = 20

WRITER = """
import json, random, sys
from datetime import UTC, datetime, timedelta
from sled_sessions import Id, Record, SledStore

random.seed(int(sys.argv[2]))
known = [Id.parse(text) for text in json.loads(sys.argv[3])]
store = SledStore.open(sys.argv[1], resolution=timedelta(milliseconds=1))
print("open", flush=True)
while True:
    acknowledged = {}
    for _ in range(random.randint(1, 40)):
        expiry = datetime.now(UTC) + random.choice((timedelta(milliseconds=2), timedelta(hours=1)))
        record = Record(random.choice((Id.new(), random.choice(known))), {"n": random.random()}, expiry)
        match random.randrange(4):
            case 0 if record.id not in known:
                store.create(record)
            case 3:
                store.delete(record.id)
                acknowledged[str(record.id)] = None
                continue
            case _:
                store.save(record)
        acknowledged[str(record.id)] = [record.data["n"], record.expiry_date.timestamp()]
    store.delete_expired(limit=10)
    store.flush(fsync=True)
    print(json.dumps(acknowledged), flush=True)
"""


def test_kill_at_any_moment(tmp_path):
    """After kill -9 at random moments every record has its entry, and no fsynced write is lost."""
    known = [str(Id.new()) for _ in range(5)]
    acknowledged: dict[str, list[float] | None] = {}
    generator = random.Random(1)
    for turn in range(ROUNDS):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / "storage"), str(turn), json.dumps(known)],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert writer.stdout.readline() == "open\n"
            time.sleep(generator.random() * 0.4)
        finally:
            writer.send_signal(signal.SIGKILL)
            lines = writer.stdout.read().splitlines(keepends=True)
            writer.stdout.close()
            writer.wait()
        fresh = [json.loads(line) for line in lines if line.endswith("\n")]
        for batch in fresh:
            acknowledged |= batch
        with SledStore.open(tmp_path / "storage") as store:
            report = store.verify_index()
            assert report.missing == 0
            assert report.undecodable == 0
            _check(store, acknowledged, unacknowledged=set(known))
            store.delete_expired()
            assert store.delete_expired(SweepStrategy.FULL_SCAN).deleted == 0
    assert len(acknowledged) > ROUNDS


def _check(store, acknowledged, unacknowledged):
    """Check all acknowledged writes but those to ids that may have later, unacknowledged ones."""
    now = time.time()
    for text, value in acknowledged.items():
        if text in unacknowledged:
            continue
        found = store.load(Id.parse(text))
        if value is None:
            assert found is None
        elif value[1] > now + 1:
            assert found is not None
            assert found.data == {"n": value[0]}


PROLONGER = """
import sys, threading
from datetime import UTC, datetime, timedelta
import attrs
from sled_sessions import Id, Record, SledStore

store = SledStore.open(sys.argv[1])
ids = [store.create(Record(Id.new(), {}, datetime.now(UTC) + timedelta(hours=1))).id for _ in range(500)]
store.flush()
later = lambda record: attrs.evolve(record, expiry_date=record.expiry_date + timedelta(seconds=2))

def prolong(start):
    while True:
        for id in ids[start::4]:
            store.update(id, later)

for start in range(4):
    threading.Thread(target=prolong, args=(start,)).start()
print("go", flush=True)
"""


def test_verify_after_a_kill(tmp_path):
    """After kill -9, `sled-sessions verify` ends with 0, also when it counts index entries left over."""
    left_over = 0
    for turn in range(20):
        with subprocess.Popen(
            [sys.executable, "-c", PROLONGER, tmp_path / str(turn)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout.readline() == "go\n"
            time.sleep(0.3 + turn * 0.05)
            writer.kill()
        verify = [*COMMAND, "verify", tmp_path / str(turn), "--json"]
        done = subprocess.run(verify, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        left_over += json.loads(done.stdout)["index"]["stale"]
        if turn >= 2 and left_over:
            break
    assert left_over, "no kill left an entry over"


@pytest.mark.parametrize("after", [0.0, 0.02, 0.05, 0.1])
def test_kill_during_index_build(tmp_path, after):
    """An index whose build was killed is not taken for a complete one."""
    with sled.open(tmp_path / "storage") as db:
        tree = db.open_tree("session")
        for n in range(20_000):
            record = Record(Id.new(), {"n": n}, datetime.now(UTC) + timedelta(hours=1))
            tree.insert(record.id.key, record.encode())
    code = "import sys; from sled_sessions import SledStore; print('go', flush=True); SledStore.open(sys.argv[1])"
    builder = subprocess.Popen([sys.executable, "-c", code, tmp_path / "storage"], stdout=subprocess.PIPE, text=True)
    assert builder.stdout.readline() == "go\n"
    time.sleep(after)
    builder.kill()
    builder.wait()
    builder.stdout.close()
    with SledStore.open(tmp_path / "storage") as store:
        report = store.verify_index()
        assert report
        assert (report.records, report.entries) == (20_000, 20_000)


@pytest.mark.parametrize("strategy", SweepStrategy)
@pytest.mark.parametrize("after", [0.0, 0.02, 0.06, 0.12])
def test_kill_during_sweep(tmp_path, strategy, after):
    """A killed sweep has deleted no live session, and the next sweep deletes the remaining expired ones."""
    now = datetime.now(UTC)
    with SledStore.open(tmp_path / "storage") as store:
        live = [Record(Id.new(), {"n": n}, now + timedelta(hours=1)) for n in range(2_000)]
        expired = [Record(Id.new(), {"n": n}, now - timedelta(seconds=n)) for n in range(20_000)]
        for record in (*live, *expired):
            store.save(record)
    code = (
        "import sys; from sled_sessions import SledStore, SweepStrategy; store = SledStore.open(sys.argv[1]);"
        "print('go', flush=True); store.delete_expired(SweepStrategy(sys.argv[2]))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path / "storage", strategy.value], stdout=subprocess.PIPE, text=True
    ) as sweeper:
        assert sweeper.stdout.readline() == "go\n"
        time.sleep(after)
        sweeper.kill()
    with SledStore.open(tmp_path / "storage") as store:
        assert store.verify_index().missing == 0
        store.delete_expired()
        assert {record.id for record in store.records()} == {record.id for record in live}
        assert store.delete_expired(SweepStrategy.FULL_SCAN).deleted == 0
        assert store.verify_index()
