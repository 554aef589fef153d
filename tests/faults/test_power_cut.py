"""Power cuts: what was acknowledged with `durability="fsync"` is there afterwards, and all else is whole or refused.

The records are so small, beside the segments, that no page of theirs becomes a file of its own: sled may bring what
names such a file to the disk before the file.
"""

from random import Random

import pytest
from faults.power import Recording

from sled_sessions import Id, SledStore, sled

PROGRAM = """
import os, random, sys, threading
from datetime import UTC, datetime, timedelta
from sled_sessions import Id, Record, SledStore, sled

db = sled.open(sys.argv[1], segment_size=1 << 18)  # so that segments are used again, and hold what an fsync covers
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
    """What a program did that saves and deletes sessions in several threads."""
    return Recording(PROGRAM, tmp_path_factory.mktemp("power") / "storage", durability)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(CUTS))
def test_power_cut(recording, durability, tmp_path, seed):
    """Whenever the power goes: with fsync nothing acknowledged is lost; without, damage is told. The index is whole."""
    random = Random(seed)
    moment = random.randrange(recording.length)
    recording.cut(moment, random, tmp_path / "storage")
    tried, least = expected(recording.said, moment)
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


def expected(said, moment):
    """The states that the program has tried to give each session until then, and the first that may be found."""
    tried, least = {}, {}
    for line, text in said:
        if line > moment:
            break
        act, id, *state = text.split()
        if act == "try":
            tried.setdefault(id, ["gone"]).extend(state)
        else:
            least[id] = len(tried[id]) - 1
    return tried, least
