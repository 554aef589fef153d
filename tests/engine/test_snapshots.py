"""Snapshots: an empty one is not needed, and files that sled would take for one are named."""

import os
import random
import shutil
import time
from pathlib import Path

import pytest
from engine.processes import running

from sled_sessions import sled

SEGMENT = 8192

# Until it is killed: write, overwrite, remove and drop, so that segments are freed and used again.
CHURN = """
import random, sys
from sled_sessions import sled
chance = random.Random(sys.argv[2])
db = sled.open(sys.argv[1], segment_size=8192, flush_every_ms=20)
print("ready", flush=True)
while True:
    key = chance.randrange(300).to_bytes(4, "big")
    if chance.random() < 0.7:
        db.insert(key, chance.randbytes(chance.choice((10, 300, 300, 4000))))
    else:
        db.remove(key)
    if chance.random() < 0.005:
        for number in range(60):
            db.open_tree("dropped").insert(number.to_bytes(4, "big"), bytes(300))
        db.drop_tree("dropped")
"""


def content(folder: Path) -> dict[bytes, dict[bytes, bytes]]:
    with sled.open(folder) as db:
        return {name: dict(iter(db.open_tree(name))) for name in db.tree_names()}


def snapshot(folder: Path) -> Path:
    (file,) = folder.glob("snap.*")
    return file


def emptied(folder: Path, copy: Path) -> Path:
    shutil.copytree(folder, copy)
    os.truncate(snapshot(copy), 0)
    return copy


@pytest.fixture
def reopened(folder: Path) -> Path:
    """A database in whose log sled has emptied segments that it had used."""
    for turn in range(2):
        with sled.open(folder, segment_size=SEGMENT, flush_every_ms=None) as db:
            for number in range(2000):
                db.insert((number % 400).to_bytes(4, "big"), bytes([turn]) * 300)
            for number in range(10, 400):
                db.remove(number.to_bytes(4, "big"))
    sled.open(folder).close()
    log = (folder / "db").read_bytes()
    assert any(not any(log[at : at + SEGMENT]) for at in range(0, len(log), SEGMENT))
    return folder


@pytest.fixture
def reused(reopened: Path) -> Path:
    """The same, after more writes."""
    with sled.open(reopened) as db:
        for number in range(200):
            db.insert(number.to_bytes(4, "big"), b"\xff" * 300)
    return reopened


@pytest.mark.slow
def test_the_log_alone_is_whole(folder: Path, tmp_path: Path) -> None:
    """After each of many kills, a log that has reused its segments opens the same without its snapshot."""
    chance = random.Random(1)
    for turn in range(8):
        with running(CHURN, folder, str(turn)) as process:
            time.sleep(chance.uniform(0.1, 0.4))
            process.kill()
            process.wait()
        if turn:
            copy = emptied(folder, tmp_path / str(turn))
            shutil.copytree(folder, tmp_path / "whole", dirs_exist_ok=True)
            assert content(copy) == content(tmp_path / "whole")
            shutil.rmtree(tmp_path / "whole")


def test_an_empty_snapshot(reused: Path, tmp_path: Path) -> None:
    """An empty snapshot is replaced on opening, and nothing is lost."""
    copy = emptied(reused, tmp_path / "copy")
    assert content(copy) == content(reused)
    assert snapshot(copy).stat().st_size > 0
    assert content(copy) == content(reused)


def test_an_empty_snapshot_that_sled_may_need(reopened: Path, tmp_path: Path) -> None:
    """A log that sled would take for empty without a snapshot, which depends on timing, is refused and unchanged."""
    copy = emptied(reopened, tmp_path / "copy")
    before = {file.name: file.read_bytes() for file in copy.iterdir() if file.is_file()}
    refused = ""
    try:
        found = content(copy)
    except sled.Corruption as error:
        refused = str(error)
    if refused:
        assert "its snapshot is empty" in refused
        assert {file.name: file.read_bytes() for file in copy.iterdir() if file.is_file()} == before
    else:
        assert found == content(reopened)


def test_kill_while_an_empty_snapshot_is_replaced(reused: Path, tmp_path: Path) -> None:
    """After a kill between setting the empty snapshot aside and writing a new one, nothing is lost either."""
    copy = emptied(reused, tmp_path / "copy")
    empty = snapshot(copy)
    empty.rename(f"{empty}.in___motion")
    assert content(copy) == content(reused)
    assert snapshot(copy).suffix != ".in___motion"


def test_an_empty_snapshot_of_a_log_that_was_cut_short(reused: Path, tmp_path: Path) -> None:
    """A log that does not reach the position in its empty snapshot's name is reported as damaged each time."""
    copy = emptied(reused, tmp_path / "copy")
    (copy / "end").unlink()
    empty = snapshot(copy).rename(copy / "snap.0000000001000000")
    for _ in range(2):
        with pytest.raises(sled.Corruption, match="db was cut short"):
            sled.open(copy)
        assert empty.exists()


def test_an_empty_snapshot_of_a_damaged_log(reused: Path, tmp_path: Path) -> None:
    """Damage anywhere in the log is reported when the snapshot is empty, since all of it is read."""
    copy = emptied(reused, tmp_path / "copy")
    log = bytearray((copy / "db").read_bytes())
    used = [at for at in range(0, len(log), SEGMENT) if any(log[at : at + SEGMENT])]
    # The oldest by the position in its header: damage to the newest looks as if the log had been cut short.
    oldest = min(used, key=lambda at: int.from_bytes(log[at + 4 : at + 12], "little") ^ (2**63 - 1))
    log[oldest + 100] ^= 0x55
    (copy / "db").write_bytes(log)
    with pytest.raises(sled.Corruption, match="db is, at byte"):
        sled.open(copy)


@pytest.mark.parametrize("name", ["snap.bak", "snap.bad", "snap.0000000000000001~", "snap.0000000000000001.orig"])
def test_a_stray_file(folder: Path, name: str) -> None:
    """A file that sled would take for its newest snapshot is named with the cure, and left alone."""
    with sled.open(folder) as db:
        db.insert(b"key", b"value")
    (folder / name).write_text("mine")
    with pytest.raises(sled.Corruption, match=rf"contains {name}, which sled would take .*: move it .*, or remove it"):
        sled.open(folder)
    assert (folder / name).read_text() == "mine"
    (folder / name).unlink()
    assert content(folder) == {b"__sled__default": {b"key": b"value"}}
