"""Damaged files are reported in one line and never taken for an empty database; a crash is not damage."""

import itertools
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from engine.files import conf
from engine.processes import python

from sled_sessions import sled

PAIRS = 3000

# Open, count, iterate, open again: each must succeed or raise SledError. A panic in one of sled's I/O threads stops
# them for the whole process, hence a process for each kind of damage.
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
    """A database of several segments, with a snapshot and a blob."""
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
    """With any damage, calls return or raise a SledError of one line; nothing hangs, and no panic is printed."""
    shutil.copytree(whole, folder)
    DAMAGES[name](folder)
    done = python(READ, folder)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines
    assert "DatabaseLocked" not in done.stdout, "a failed open must release the lock"
    assert [line for line in lines if line.startswith("then")] == [
        line for line in lines if line.startswith("then") and line.endswith("and []")
    ], "an iterator must end after an error"


def test_iterators_end_after_an_error(whole: Path, folder: Path) -> None:
    """An iterator over a damaged tree yields the readable pairs, raises once and ends; sled's own never ends."""
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


def test_backwards_to_a_damaged_page(whole: Path, folder: Path) -> None:
    """A reverse iterator yields the readable pairs after the damage, then raises."""
    shutil.copytree(whole, folder)
    DAMAGES["a page of zeros"](folder)
    forwards: list[bytes] = []
    backwards: list[bytes] = []
    with sled.open(folder) as db:
        tree = db.open_tree("tree")
        for keys, seen in ((tree.keys(), forwards), (tree.keys(reverse=True), backwards)):
            with pytest.raises(sled.Corruption, match="db is, at byte"):
                seen.extend(keys)
        assert tree.last() is not None
    assert forwards == sorted(forwards)
    assert backwards == sorted(backwards, reverse=True)
    assert max(forwards) < min(backwards)
    lost = PAIRS + 1 - len(forwards) - len(backwards)
    assert 0 < lost < 100


def test_a_damaged_tree_can_be_dropped(whole: Path, folder: Path) -> None:
    """A damaged tree can be dropped."""
    shutil.copytree(whole, folder)
    DAMAGES["a page of zeros"](folder)
    with sled.open(folder) as db:
        assert db.drop_tree("tree")
        assert db.tree_names() == [b"__sled__default"]


def test_a_damaged_header_of_the_only_segment(folder: Path) -> None:
    """A small database whose first bytes are damaged is not taken for another program's file."""
    with sled.open(folder) as db:
        db.insert(b"key", b"value")
    overwrite("db", 5, b"\0\0")(folder)
    with pytest.raises(sled.Corruption, match="the file db was cut short"):
        sled.open(folder)


def test_damage_inside_a_transaction(whole: Path, folder: Path) -> None:
    """The error for damage found inside a transaction names the database too."""
    shutil.copytree(whole, folder)
    DAMAGES["a page of zeros"](folder)

    def read(tree: sled.TransactionTree) -> None:
        for number in range(PAIRS):
            tree.get(number.to_bytes(8, "big"))

    with sled.open(folder) as db, pytest.raises(sled.Corruption, match=f"^{folder} is damaged"):
        sled.transaction(read, db.open_tree("tree"))


def test_missing_blob(whole: Path, folder: Path) -> None:
    """A value whose file is missing is an OSError; the other pairs can be read."""
    shutil.copytree(whole, folder)
    DAMAGES["no blob"](folder)
    with sled.open(folder) as db:
        tree = db.open_tree("tree")
        with pytest.raises(sled.SledIOError) as raised:
            tree.get(b"\xff" * 10_000)
        assert raised.value.errno == 2
        assert tree.get((5).to_bytes(8, "big")) == (5).to_bytes(8, "big") * 30


def test_damage_before_the_snapshot(whole: Path, folder: Path) -> None:
    """Damage before the snapshot but in its segment, which sled reads again, is reported."""
    shutil.copytree(whole, folder)
    (snapshot,) = folder.glob("snap.*")
    start = int(snapshot.suffix[1:], 16)
    with sled.open(folder) as db:
        for number in range(PAIRS):
            db.insert(number.to_bytes(8, "big"), bytes(300))
    shutil.copy(next(whole.glob("snap.*")), folder)
    for newer in folder.glob("snap.*"):
        if newer.name != snapshot.name:
            newer.unlink()
    overwrite("db", start // 524_288 * 524_288 + 30, b"\x55")(folder)
    with pytest.raises(sled.Corruption):
        sled.open(folder)


def changed(before: bytes, after: bytes) -> tuple[int, int]:
    """The range in which two contents of a file differ."""
    places = [at for at, (old, new) in enumerate(itertools.zip_longest(before, after, fillvalue=0)) if old != new]
    return places[0], places[-1] + 1


@pytest.mark.parametrize(
    "content",
    [
        b"SQLite format 3\0" + bytes(range(1, 256)) * 600,
        b"HOST=localhost\n",
        bytes(512) + b"another program's" * 40_000,
        random.Random(1).randbytes(3_000_000),
        bytes(8192),
    ],
    ids=["sqlite", "text", "zeros, then text", "noise", "zeros"],
)
def test_a_file_of_another_program(folder: Path, content: bytes) -> None:
    """A file `db` that sled did not write is refused, and nothing in its folder changes."""
    folder.mkdir()
    (folder / "db").write_bytes(content)
    with pytest.raises(sled.Corruption, match="sled did not write the file db"):
        sled.open(folder)
    assert [path.name for path in folder.iterdir()] == ["db"]
    assert (folder / "db").read_bytes() == content


def test_gaps_after_a_crash_are_not_damage(tmp_path: Path) -> None:
    """Buffers reach the file in any order, so after a crash a later one may be present without an earlier one."""
    chance, tried = random.Random(1), 0
    folder, file = tmp_path / "storage", tmp_path / "storage" / "db"
    with sled.open(folder, flush_every_ms=None, segment_size=32_768) as db:

        def write(count: int) -> bytes:
            for _ in range(count):
                db.insert(chance.randrange(500).to_bytes(8, "big"), chance.randbytes(300))
            db.flush()
            return file.read_bytes()

        write(5_000)  # from here on segments are reused, so a gap contains earlier data
        for turn in range(30):
            contents = write(chance.randrange(10, 40)), write(1), write(1)
            (start, stop), later = changed(*contents[:2]), changed(*contents[1:])
            if len({at // 32_768 for at in (start, stop - 1, later[0], later[1] - 1)}) > 1:
                continue  # a new segment was begun, and its header says what was written before it
            tried += 1
            crashed = tmp_path / str(turn)
            shutil.copytree(folder, crashed, ignore=shutil.ignore_patterns("end"))
            with (crashed / "db").open("r+b") as opened:
                opened.seek(start)
                opened.write(contents[0].ljust(stop, b"\0")[start:stop])
            with sled.open(crashed) as again:
                assert len(again) == len(db)
        assert tried > 10


def test_damage_at_the_end_of_a_closed_log(folder: Path) -> None:
    """After a clean close, damage is reported up to the last message of the log."""
    with sled.open(folder) as db:
        for number in range(10):
            db.insert(bytes([number]), bytes(100))
    with (folder / "db").open("r+b") as opened:
        opened.seek(-50, os.SEEK_END)
        opened.write(b"\x55")
    with pytest.raises(sled.Corruption, match=r"db was cut short|db is, at byte"):
        sled.open(folder)


def test_conf_helper(db: sled.Db) -> None:
    """The tests' helper writes the same file conf as sled."""
    assert (db.path / "conf").read_bytes() == conf()


IMPOSSIBLE = [0, 1, 128, 524_280, 1 << 25, 1 << 46, 1 << 62, (1 << 64) - 1]


@pytest.mark.parametrize(
    ("size", "is_signed"), [(262_144, False), *((size, signed) for size in IMPOSSIBLE for signed in (False, True))]
)
def test_wrong_segment_size(whole: Path, folder: Path, size: int, is_signed: bool) -> None:
    """For a wrong or impossible segment size the error names conf, and salvaging detects the right size."""
    shutil.copytree(whole, folder)
    unsigned = conf().replace(b"524288", str(size).encode())
    (folder / "conf").write_bytes(conf(segment_size=size) if is_signed else unsigned)
    code = """
import sys
from sled_sessions import sled
from sled_sessions.sled.salvage import Pages
try: sled.open(sys.argv[1])
except sled.Corruption as error: print(error)
print(sum(len(pairs) for _, pairs in Pages(sys.argv[1])))
"""
    done = python(code, folder)
    error, count = done.stdout.splitlines()
    assert "the file conf is" in error
    assert int(count) >= PAIRS
    assert (done.returncode, done.stderr) == (0, "")


def test_lost_segment_size(folder: Path) -> None:
    """If conf is lost and the segment size is not the default, the error gives the size."""
    with sled.open(folder, segment_size=1 << 20) as db:
        for number in range(8000):
            db.insert(number.to_bytes(8, "big"), bytes(200))
    (folder / "conf").unlink()
    with pytest.raises(sled.Corruption, match="conf is missing, which would say segment_size=1048576"):
        sled.open(folder)
    assert not (folder / "conf").exists()
    with sled.open(folder, segment_size=1 << 20) as db:
        assert len(db) == 8000
