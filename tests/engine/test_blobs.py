"""Blobs, the files of large pages: opening removes those that no page refers to, and never one that is needed."""

import ast
import os
import random
import struct
import time
from collections import Counter
from pathlib import Path

import pytest
from engine.processes import python, running

from sled_sessions import sled
from sled_sessions.sled.salvage import Pages

KILLS = int(os.environ.get("KILLS", "4"))  # at each segment size; a few hundred find rare faults

# Each thread owns ten keys. A value repeats its count, which shows wrong or mixed ones. A count is noted once it is
# flushed.
WRITE = """
import os, random, struct, sys, threading
from sled_sessions import sled
db = sled.open(sys.argv[1], segment_size=int(sys.argv[2]))
noted = os.open(sys.argv[3], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def work(number):
    chance, kept, dropped = random.Random(), db.open_tree("kept"), db.open_tree("dropped")
    while True:
        key = struct.pack(">I", number * 10 + chance.randrange(10))
        count = 1 + int.from_bytes((kept.get(key) or b"")[:8], "big")
        kept.insert(key, count.to_bytes(8, "big") * (chance.choice(SIZES) // 8))
        dropped.insert(key, bytes(chance.choice(SIZES)))
        if chance.random() < 0.5:
            dropped.remove(key)
        db.flush()
        os.write(noted, key + struct.pack(">Q", count))

SIZES = [int(size) for size in sys.argv[4:]]
for number in range(4):
    threading.Thread(target=work, args=(number,), daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
"""

READ = """
import sys
from sled_sessions import sled
with sled.open(sys.argv[1]) as db:
    for value in db.open_tree("dropped").values(): assert not any(value)
    kept = dict(db.open_tree("kept"))
    assert all(value == value[:8] * (len(value) // 8) for value in kept.values())
    print({int.from_bytes(key, "big"): int.from_bytes(value[:8], "big") for key, value in kept.items()})
"""


def names(folder: Path) -> set[str]:
    return set(os.listdir(folder / "blobs"))


def churn(db: sled.Db, rounds: int = 20) -> dict[bytes, bytes]:
    """Overwrite large values again and again; return the pairs that are there in the end."""
    chance = random.Random(rounds)
    for _ in range(rounds):
        pairs = {bytes([key]): chance.randbytes(chance.choice((20_000, 50_000, 200_000))) for key in range(20)}
        for key, value in pairs.items():
            db.insert(key, value)
        db.flush()
    return pairs


def test_unused_blobs_are_removed_on_opening(folder: Path) -> None:
    """Opening removes the blobs of replaced pages; what is left is what the pages need, and can be read."""
    with sled.open(folder) as db:
        pairs = churn(db)
        size, unused = db.blob_sizes()
        assert size == sum((folder / "blobs" / name).stat().st_size for name in names(folder))
        assert 0 < unused < size
    before = names(folder)
    with sled.open(folder) as db:
        assert names(folder) < before
        left, unused_left = db.blob_sizes()
        assert (left < size - unused / 2, unused_left) == (True, 0)
        assert dict(db) == pairs
        db.clear()
    for _ in range(2):  # sled's own clean-up may still be writing pages of the emptied tree
        with sled.open(folder) as db:
            assert len(db) == 0
    assert len(names(folder)) <= 2


def test_the_log_alone_still_suffices(folder: Path) -> None:
    """After unused blobs were removed, a salvage, which reads the log without the snapshot, finds everything."""
    with sled.open(folder) as db:
        pairs = churn(db)
    sled.open(folder).close()
    pages = Pages(folder)
    assert dict(pair for _, page in pages for pair in page) == pairs
    assert pages.lost == 0


def test_other_files_stay(folder: Path) -> None:
    """Files in the blobs' folder that sled did not write are left alone."""
    with sled.open(folder) as db:
        churn(db)
    others = {"notes.txt", "-5", "+5", "05", "1.bak", ".hidden"}
    for name in others:
        (folder / "blobs" / name).touch()
    sled.open(folder).close()
    assert others < names(folder)


def test_nothing_is_removed_if_a_needed_blob_is_missing(folder: Path) -> None:
    """When a file is missing that the snapshot names, the database is damaged: everything else stays as it is."""
    with sled.open(folder) as db:
        churn(db)
    with sled.open(folder) as db:
        needed = names(folder)
        db.open_tree("other").insert(b"key", bytes(150_000))
        for byte in range(20):
            db.open_tree("other").insert(b"key", bytes([byte]) * 150_000)
        db.flush()
    lost = min(needed & names(folder), key=int)
    (folder / "blobs" / lost).unlink()
    before = names(folder)
    with sled.open(folder) as db:
        assert db.blob_sizes()[1] > 0
        assert names(folder) == before


@pytest.mark.slow
@pytest.mark.parametrize("segment", [1 << 14, 1 << 19])
def test_killed_while_blobs_are_written(tmp_path: Path, segment: int) -> None:
    """After each of many kills the database opens, and every flushed value is whole."""
    folder, noted = tmp_path / "storage", tmp_path / "noted"
    sizes = [str(size) for size in (8, segment // 16, segment // 3, segment)]
    chance = random.Random()
    for _ in range(KILLS):
        with running(WRITE, folder, str(segment), noted, *sizes) as process:
            time.sleep(chance.uniform(0.02, 0.4))
            process.kill()
            process.wait()
        if chance.random() < 0.5:
            assert_flushed_values_are_whole(folder, noted)
    assert_flushed_values_are_whole(folder, noted)
    with sled.open(folder) as db:
        assert db.blob_sizes()[1] == 0


def assert_flushed_values_are_whole(folder: Path, noted: Path) -> None:
    done = python(READ, folder)
    assert (done.returncode, done.stderr) == (0, "")
    found = Counter(ast.literal_eval(done.stdout))
    content = noted.read_bytes()
    for key, count in struct.iter_unpack(">IQ", content[: len(content) // 12 * 12]):
        assert found[key] >= count
