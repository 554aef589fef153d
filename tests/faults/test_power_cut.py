"""Power cuts: with `durability="fsync"` acknowledged writes survive; otherwise the database is intact or refused.

The records are too small for blob files: sled may write the reference to a blob to the disk before the blob.
"""

from random import Random

import pytest
from faults.power import Recording

from sled_sessions import Id, SledStore, sled

PROGRAM = """
import os, random, sys, threading
from datetime import UTC, datetime, timedelta
from sled_sessions import Id, Record, SledStore, sled

db = sled.open(sys.argv[1], segment_size=1 << 18)  # small, so that segments are reused while they hold synced data
store = SledStore(db.open_tree("session"), durability=sys.argv[2])

def work(thread):
    draw = random.Random(thread)
    mine = []
    for version in range(50):
        if mine and draw.random() < 0.2:
            id = mine.pop(draw.randrange(len(mine)))
            os.write(1, f"try {id} gone".encode())
            store.delete(id)
        else:
            id = draw.choice(mine) if mine and draw.random() < 0.4 else Id.new()
            mine += [] if id in mine else [id]
            data = {"version": version, "pad": "x" * draw.choice([10, 300, 800])}
            os.write(1, f"try {id} {version}".encode())
            store.save(Record(id, data, datetime(2100, 1, 1, tzinfo=UTC) + timedelta(seconds=draw.randrange(10_000))))
        os.write(1, f"did {id}".encode())

threads = [threading.Thread(target=work, args=(thread,)) for thread in range(6)]
for thread in threads: thread.start()
for thread in threads: thread.join()
db.close()
"""
CUTS = 20


@pytest.fixture(scope="module", params=["fsync", "interval"])
def durability(request):
    return request.param


@pytest.fixture(scope="module")
def recording(durability, tmp_path_factory):
    """The recording of a program that saves and deletes sessions in several threads."""
    return Recording(PROGRAM, tmp_path_factory.mktemp("power") / "storage", durability)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(CUTS))
def test_power_cut(recording, durability, tmp_path, seed):
    """With fsync no acknowledged write is lost; without it damage is reported. No record lacks its index entry."""
    random = Random(seed)
    moment = random.randrange(recording.length)
    recording.cut(moment, random, tmp_path / "storage")
    tried, least = expected(recording.printed, moment)
    try:
        store = SledStore.open(tmp_path / "storage")
    except sled.Corruption:
        assert durability == "interval"
        return
    with store:
        report = store.verify_index()
        assert (report.missing, report.undecodable) == (0, 0)
        for id, states in tried.items():
            record = store.load(Id.parse(id))
            state = "gone" if record is None else str(record.data["version"])
            assert state in states[least.get(id, 0) if durability == "fsync" else 0 :]


def expected(printed, moment):
    """The states each session may have had up to this moment, and the index of the last acknowledged one."""
    tried, least = {}, {}
    for line, text in printed:
        if line > moment:
            break
        act, id, *state = text.split()
        if act == "try":
            tried.setdefault(id, ["gone"]).extend(state)
        else:
            least[id] = len(tried[id]) - 1
    return tried, least
