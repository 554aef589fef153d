"""Ids never repeat, whenever and however often the process is killed."""

import random
import shutil
import struct
import time
from pathlib import Path

import pytest
from engine.processes import python, running

from sled_sessions import sled

PLAIN = "db.generate_id"
IN_TRANSACTION = "lambda: sled.transaction(lambda tree: tree.generate_id(), db)"

# Nothing flushes sled's log. Ids are skipped first, so that some processes note ids on both sides of a million.
DRAW = """
import os, struct, sys, threading
from sled_sessions import sled
db = sled.open(sys.argv[1], flush_every_ms=None)
noted = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
draw = DRAW

def work():
    while True:
        os.write(noted, struct.pack(">Q", draw()))

for _ in range(int(sys.argv[3])):
    draw()
for _ in range(4):
    threading.Thread(target=work, daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
"""

ENDED = """
import os, sys
from sled_sessions import sled
db = sled.open(sys.argv[1])
print((DRAW)(), flush=True)
os._exit(9)
"""


@pytest.mark.slow
@pytest.mark.parametrize("draw", [PLAIN, IN_TRANSACTION])
def test_kills(folder: Path, tmp_path: Path, draw: str) -> None:
    """After each of many kills at random moments, four threads get ids that no process has had before."""
    chance = random.Random(1)
    for turn in range(10):
        skipped = 999_900 if turn % 5 == 1 and draw == PLAIN else 0
        with running(DRAW.replace("DRAW", draw), folder, tmp_path / "noted", str(skipped)) as process:
            time.sleep(chance.uniform(0, 0.1))
            process.kill()
            process.wait()
    content = (tmp_path / "noted").read_bytes()
    ids = [id for (id,) in struct.iter_unpack(">Q", content[: len(content) // 8 * 8])]
    assert len(ids) > 100
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("draw", [PLAIN, IN_TRANSACTION])
def test_end_right_after_the_first_id(folder: Path, draw: str) -> None:
    """Processes that each end without closing, right after their first id, get rising ids."""
    ids = [int(python(ENDED.replace("DRAW", draw), folder).stdout) for _ in range(5)]
    assert ids == sorted(set(ids))


def test_database_without_a_note(folder: Path) -> None:
    """Ids rise across a kill even if the database, such as one that a Rust program used, has no file `ids`."""
    ids = []
    for _ in range(3):
        ids.append(int(python(ENDED.replace("DRAW", PLAIN), folder).stdout))
        (folder / "ids").unlink()
    assert ids == sorted(set(ids))


def test_note_cannot_be_written(folder: Path) -> None:
    """An id that cannot be made safe is not handed out: the call raises an OSError, and the next one succeeds."""
    with sled.open(folder) as db:
        (folder / "ids.new").mkdir()
        with pytest.raises(sled.SledIOError, match="ids"):
            db.generate_id()
        (folder / "ids.new").rmdir()
        assert db.generate_id() > 0


def test_note_of_another_log(folder: Path) -> None:
    """A note far above the log's own counter is an error that names the file; without the file, ids go on."""
    sled.open(folder).close()
    (folder / "ids").write_text("F" * 16)
    with sled.open(folder) as db, pytest.raises(sled.Corruption, match="the file ids is of another log"):
        db.generate_id()
    (folder / "ids").unlink()
    with sled.open(folder) as db:
        assert db.generate_id() > 0


def test_new_database_beside_an_old_note(folder: Path) -> None:
    """A new database begins at 0, whatever note a deleted one has left."""
    with sled.open(folder) as db:
        db.generate_id()
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != "ids":
            path.unlink()
    with sled.open(folder) as db:
        assert db.generate_id() == 0
