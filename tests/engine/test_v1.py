"""Databases of sled 1.0: Ctrl-C, locks, and folders that were replaced."""

import os
import shutil
from pathlib import Path

import pytest
from engine.processes import held_briefly, python

from sled_sessions import sled
from sled_sessions.sled import v1

PAIRS = [(number.to_bytes(4, "big"), bytes(50)) for number in range(5_000)]


def fill(folder: Path) -> None:
    with v1.Db(folder) as db:
        db.import_([(b"tree", b"tree", PAIRS)])


def pairs(db: v1.Db) -> list[tuple[bytes, bytes]]:
    return next(list(pairs) for _, name, pairs in db.export() if name == b"tree")


def test_use_after_close(folder: Path) -> None:
    """A call on a closed database raises ClosedError, which says how to open it again; closing again does nothing."""
    db = v1.Db(folder)
    db.close()
    db.close()
    with pytest.raises(sled.ClosedError, match=f"{folder} is closed: open it again with v1.Db"):
        db.tree_names()


@pytest.mark.parametrize("name", [".", "metadata"])
def test_briefly_held_lock(folder: Path, name: str) -> None:
    """Opening waits for a child process that is being started and holds copies of its parent's locks."""
    v1.Db(folder).close()
    with held_briefly(folder / name):
        v1.Db(folder).close()


def test_another_type_of_collection(folder: Path) -> None:
    """Collections of other types than tree are refused before anything is written, as by 0.34."""
    with v1.Db(folder) as db:
        with pytest.raises(sled.SledError, match="only collections of type b'tree'"):
            db.import_([(b"table", b"name", PAIRS)])
        assert b"name" not in db.tree_names()


def test_closing_after_an_interrupt(folder: Path) -> None:
    """After Ctrl-C has ended a call, close() waits until it has ended in sled too, and the folder is free."""
    code = """
import os, signal, sys, threading
from sled_sessions import sled
from sled_sessions.sled import v1
db = v1.Db(sys.argv[1])
pairs = [(number.to_bytes(4, "big"), os.urandom(100)) for number in range(200_000)]
threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
try: db._native.insert_new(b"tree", pairs)
except KeyboardInterrupt: print("interrupted")
try: db.tree_names()
except sled.ClosedError as error: print(error)
db.close()
with v1.Db(sys.argv[1]) as again: print(sum(1 for _, name, pairs in again.export() if name == b"tree" for _ in pairs))
"""
    done = python(code, folder)
    assert done.stderr == ""
    first, second, third = done.stdout.splitlines()
    assert (first, third) == ("interrupted", "200000")
    assert f"Ctrl-C has ended a call of the database {folder}: close it" in second


@pytest.mark.slow
def test_closing_while_a_call_hangs(folder: Path) -> None:
    """If an interrupted call never ends in sled, closing says so, and that the folder stays locked."""
    fill(folder)
    (log,) = folder.glob("metadata/log_*")
    os.truncate(log, log.stat().st_size // 3)
    code = """
import os, signal, sys, threading
from sled_sessions.sled import v1
try:
    with v1.Db(sys.argv[1]) as db:
        threading.Timer(1, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        for _, _, pairs in db.export(): list(pairs)
except KeyboardInterrupt as error: print(*error.__notes__)
"""
    done = python(code, folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"and keeps {folder} locked" in done.stdout


def test_backup_in_place_of_a_damaged_folder(folder: Path, tmp_path: Path) -> None:
    """A backup opens at the path of a folder that failed to open."""
    fill(folder)
    shutil.copytree(folder, tmp_path / "backup")
    for slab in folder.glob("slabs/*"):
        slab.write_bytes(b"\xff" * slab.stat().st_size)
    for _ in range(2):
        with pytest.raises(sled.Corruption):
            v1.Db(folder)
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "backup", folder)
    with v1.Db(folder) as db:
        assert pairs(db) == PAIRS
