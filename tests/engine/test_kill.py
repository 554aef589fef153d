"""kill -9 while many threads write: the next open reports no damage and has everything that was flushed."""

import ast
import random
import struct
import tarfile
import time
from pathlib import Path

import pytest
from engine.processes import python, running
from reference import DATA

THREADS = 24
KILLS = 30
SEGMENT = 1 << 16

# Each thread counts in a separate key, and notes each count once it is flushed.
WRITE = """
import os, random, struct, sys, threading
from sled_sessions import sled
db = sled.open(sys.argv[1], segment_size=int(sys.argv[2]))
noted = os.open(sys.argv[3], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def work(number):
    chance = random.Random()
    counts = db.open_tree("counts")
    key = struct.pack(">I", number)
    count = int.from_bytes(counts.get(key) or b"", "big")
    while True:
        count += 1
        counts.insert(key, count.to_bytes(8, "big"))
        db.insert(chance.randrange(500).to_bytes(8, "big"), chance.randbytes(chance.choice((50, 300, 300, 3000))))
        db.flush()
        os.write(noted, struct.pack(">IQ", number, count))

for number in range(int(sys.argv[4])):
    threading.Thread(target=work, args=(number,), daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
"""

READ = """
import sys
from sled_sessions import sled
with sled.open(sys.argv[1]) as db:
    print({int.from_bytes(key, "big"): int.from_bytes(count, "big") for key, count in db.open_tree("counts")})
"""


@pytest.mark.slow
@pytest.mark.parametrize("is_closed", [True, False], ids=["closed in between", "never closed"])
def test_killed_while_threads_flush(tmp_path: Path, is_closed: bool) -> None:
    """After each of many kills, with segments reused, the database opens with every count that was flushed."""
    folder, noted = tmp_path / "storage", tmp_path / "noted"
    chance = random.Random(1)
    for _ in range(KILLS // 2):
        # The second process opens what the first one left; `running` fails if it cannot.
        with running(WRITE, folder, str(SEGMENT), noted, str(THREADS)) as process:
            time.sleep(chance.uniform(0.03, 0.3))
            process.kill()
            process.wait()
        if is_closed:
            assert_flushed_counts_exist(folder, noted)
    assert_flushed_counts_exist(folder, noted)


def assert_flushed_counts_exist(folder: Path, noted: Path) -> None:
    done = python(READ, folder)
    assert (done.returncode, done.stderr) == (0, "")
    found = ast.literal_eval(done.stdout)
    content = noted.read_bytes()
    for number, count in struct.iter_unpack(">IQ", content[: len(content) // 12 * 12]):
        assert found[number] >= count


def test_dropping_a_half_merged_tree(tmp_path: Path) -> None:
    """A tree whose pages a kill has left half merged (in `data/half_merged.tar.xz`) can be dropped."""
    with tarfile.open(DATA / "half_merged.tar.xz") as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # missing in Debian's Python 3.11.2
        archive.extractall(tmp_path / "storage")
    code = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))  # sled's own drop_tree uses all memory
from sled_sessions import sled
with sled.open(sys.argv[1]) as db:
    print(db.tree_names(), db.drop_tree("tree"), db.tree_names())
"""
    done = python(code, tmp_path / "storage")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "[b'__sled__default', b'tree'] True [b'__sled__default']\n"
