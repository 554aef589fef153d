import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from engine.processes import python

from sled_sessions import sled

PAIRS = 3000

# Open, count, iterate, open again; whatever happens must be an answer or a SledError. Its I/O threads are sled's own
# and a panic there stops them for the whole process, hence a process for each kind of damage.
READ = """
import sys
from sled_sessions import sled

def attempt(what, work):
    try: print(what, work())
    except sled.SledError as error:
        assert "\\n" not in str(error)
        print(what, type(error).__name__)

def read():
    db = sled.open(sys.argv[1])
    tree = db.open_tree("tree")
    attempt("len", lambda: len(tree))
    pairs, good = iter(tree), 0
    try:
        for key, value in pairs: good += value == key * 30
        print("read", good)
    except sled.SledError as error:
        print("then", type(error).__name__, "and", list(pairs))
    try: db.close()
    except sled.SledError: pass
    return "done"

attempt("open", read)
attempt("open", read)
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of several segments, with a snapshot and a value in a file of its own."""
    folder = tmp_path_factory.mktemp("whole") / "storage"
    with sled.open(folder) as db:
        tree = db.open_tree("tree")
        for number in range(PAIRS):
            tree.insert(number.to_bytes(8, "big"), number.to_bytes(8, "big") * 30)
        tree.insert(b"\xff" * 10_000, b"\xff" * 300_000)
    sled.open(folder).close()
    return folder


def overwrite(name: str, start: int, content: bytes) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (file,) = folder.glob(name)
        with file.open("r+b") as opened:
            opened.seek(start, os.SEEK_END if start < 0 else os.SEEK_SET)
            opened.write(content)

    return damage


def truncate(name: str, size: int) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (file,) = folder.glob(name)
        os.truncate(file, file.stat().st_size + size if size < 0 else size)

    return damage


def remove(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        for file in folder.glob(name):
            file.unlink()

    return damage


def replay_the_log(damage: Callable[[Path], None]) -> Callable[[Path], None]:
    def both(folder: Path) -> None:
        remove("snap.*")(folder)
        damage(folder)

    return both


DAMAGES = {
    "no log": truncate("db", 0),
    "half a log": truncate("db", 1_000_000),
    "a page of zeros": overwrite("db", 200_000, bytes(4096)),
    "a flipped bit": overwrite("db", 200_000, b"\x55"),
    "a flipped bit in a log without snapshot": replay_the_log(overwrite("db", 200_000, b"\x55")),
    "a damaged segment header": replay_the_log(overwrite("db", 524_288, bytes(20))),
    "half a log without snapshot": replay_the_log(truncate("db", 1_000_000)),
    "noise": overwrite("db", 0, bytes(range(256)) * 8192),
    "a damaged snapshot": overwrite("snap.*", 20, b"\x55"),
    "half a snapshot": truncate("snap.*", 9),
    "an empty snapshot": truncate("snap.*", 0),
    "a damaged conf": overwrite("conf", 15, b"\xff"),
    "no blob": remove("blobs/*"),
    "half a blob": truncate("blobs/*", 100),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_files(whole: Path, folder: Path, name: str) -> None:
    """Whatever is damaged, calls answer or raise a SledError of one line; nothing hangs, and no panic is printed."""
    shutil.copytree(whole, folder)
    DAMAGES[name](folder)
    done = python(READ, folder)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines
    assert "DatabaseLocked" not in done.stdout, "a failed open must give the lock back"
    assert [line for line in lines if line.startswith("then")] == [
        line for line in lines if line.startswith("then") and line.endswith("and []")
    ], "after an error an iterator has ended"


def test_an_error_stops_an_iterator(whole: Path, folder: Path) -> None:
    """An iterator over a damaged tree yields what can be read, raises once and has ended, where sled never ends."""
    shutil.copytree(whole, folder)
    DAMAGES["a page of zeros"](folder)
    with sled.open(folder) as db:
        tree = db.open_tree("tree")
        pairs, good = iter(tree), []
        with pytest.raises(sled.Corruption):
            good.extend(pairs)
        assert 0 < len(good) < PAIRS
        assert all(value == key * 30 for key, value in good)
        assert list(pairs) == []
        for call in (lambda: len(tree), lambda: list(tree), lambda: tree.checksum(), tree.clear):
            with pytest.raises(sled.Corruption, match="db is, at byte"):
                call()


def test_a_missing_value_file(whole: Path, folder: Path) -> None:
    """A value whose file is missing is an OSError; the other pairs can be read."""
    shutil.copytree(whole, folder)
    DAMAGES["no blob"](folder)
    with sled.open(folder) as db:
        tree = db.open_tree("tree")
        with pytest.raises(sled.SledIOError) as raised:
            tree.get(b"\xff" * 10_000)
        assert raised.value.errno == 2
        assert tree.get((5).to_bytes(8, "big")) == (5).to_bytes(8, "big") * 30
