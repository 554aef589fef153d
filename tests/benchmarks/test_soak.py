"""The soak and the kills: short runs, and what their check finds."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import attrs
import pytest

from benchmarks.soak.churn import Options
from benchmarks.soak.ledger import Ledger, Session, id_of
from benchmarks.soak.process import check
from sled_sessions import Record
from sled_sessions.records.codec import from_microseconds

ROOT = Path(__file__).parents[2]


def run(program, *arguments):
    """Run a program of the benchmarks as the README does; it must find nothing wrong."""
    command = [sys.executable, f"tests/benchmarks/{program}", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


@pytest.mark.parametrize("size", ["300", "9000-60000"])
def test_soak(size):
    """A soak prints lines of JSON, is killed, finds what was acknowledged, and prints a table."""
    (*lines, last), table = run("soak", "--duration", "2s", "--every", "1s", "--live", "200", "--size", size)
    assert lines
    assert lines[-1]["operations"] > 0
    assert lines[-1]["bytes"] > lines[-1]["live_bytes"] > 0
    assert lines[-1]["sweeps"] > 0
    assert last["wrong"] == []
    assert last["reopened"]["bytes"] > 0
    assert "everything acknowledged is there" in table


def test_soak_ends_after_operations():
    """A soak with `--operations` ends after this number of operations."""
    (*_, last), _ = run("soak", "--operations", "1000", "--durability", "flush", "--live", "200", "--every", "1s")
    assert last["operations"] >= 1000


@pytest.mark.slow
def test_kills():
    """After a kill of writers with each durability and size, nothing is wrong."""
    lines, table = run("kills", "--count", "1")
    assert len(lines) == 6
    assert "fsync" in table


@pytest.fixture
def churned(tmp_path):
    """Options, a ledger and a store after slot 0 has created a session, saved it twice, and slot 1 has deleted one."""
    options = Options(folder=str(tmp_path / "a"), ledger=str(tmp_path / "b"), live=100, low=300, high=300)
    ledger = Ledger(Path(options.ledger), options.live)
    db, store = options.open(ledger)
    with db:
        yield options, ledger, store
    ledger.close()


def save(options, ledger, store, slot, born=None):
    """Save the session of a slot as a churn does; returns its record."""
    n, expires = ledger.begin(slot), ledger.tick() + 1_000_000_000
    born = born or n
    record = Record(id_of(slot, born), options.content().data(slot, n, born), from_microseconds(expires))
    store.save(record)
    ledger.saved(slot, Session(record.id, born, n, expires))
    return record


def test_check_finds_nothing_wrong(churned):
    """What was acknowledged, or had at least begun, is right."""
    options, ledger, store = churned
    save(*churned, 0)
    promised = ledger.copy()
    save(*churned, 0, born=1)
    assert check(store, options, ledger, promised) == []


def test_check_finds_a_lost_write(churned):
    """A record older than the acknowledged one is wrong, and so is a missing one, unless its deletion had begun."""
    options, ledger, store = churned
    old = save(*churned, 0)
    save(*churned, 0, born=1)
    store.save(old)
    save(*churned, 1)
    store.delete(id_of(1, 1))
    save(*churned, 2)
    ledger.ending(2, ledger.begin(2))
    store.delete(id_of(2, 1))
    assert check(store, options, ledger, ledger.copy()) == [
        "slot 0 lost its operation 2: it has [1]",
        "slot 1 lost its operation 1: it has []",
    ]


def test_check_finds_a_deleted_session(churned):
    """A session whose deletion was acknowledged must not be back."""
    options, ledger, store = churned
    save(*churned, 0)
    ledger.ending(0, ledger.begin(0))
    ledger.ended(0, born=1)
    assert check(store, options, ledger, ledger.copy()) == [
        "slot 0 has the deleted session back that its operation 1 created"
    ]


def test_check_finds_changed_data(churned):
    """A record that no operation has written is wrong, and so is one whose operation had not begun."""
    options, ledger, store = churned
    record = save(*churned, 0)
    store.save(attrs.evolve(record, data=record.data | {"text": "other"}))
    later = options.content().data(1, 7, 7)
    store.save(Record(id_of(1, 7), later, record.expiry_date))
    wrong = check(store, options, ledger, ledger.copy())
    assert "a record differs from what slot 0 wrote as its operation 1" in wrong
    assert "slot 1 has operation 7, which it had not begun" in wrong


def test_churn_ends_with_its_parent(tmp_path):
    """The process that churns ends when the one that started it is killed."""
    program = """
import sys
from pathlib import Path
from benchmarks.soak.churn import Options
from benchmarks.soak.ledger import Ledger
from benchmarks.soak.process import Process
options = Options(folder=sys.argv[1] + "/a", ledger=sys.argv[1] + "/b", live=100, low=300, high=300)
process = Process(options, Ledger(Path(options.ledger), options.live))
process.wait_until_ready()
print(process.pid, flush=True)
sys.stdin.read()
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as parent:
        churn = int(parent.stdout.readline())
        parent.kill()
    until = time.monotonic() + 20
    while Path(f"/proc/{churn}/cmdline").exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert not Path(f"/proc/{churn}/cmdline").exists()
