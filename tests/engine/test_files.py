"""The files of a database: their permissions, and what must not be in their place."""

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from engine.processes import python

from sled_sessions import sled
from sled_sessions.sled.salvage import Pages

BLOB = bytes(500_000)


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def modes(folder: Path) -> set[tuple[bool, int]]:
    """The permissions of a folder and everything in it, with True for folders."""
    return {(path.is_dir(), path.stat().st_mode & 0o7777) for path in (folder, *folder.rglob("*"))}


@pytest.mark.parametrize(
    ("options", "file", "folder"),
    [({}, 0o600, 0o700), ({"mode": 0o640}, 0o640, 0o750), ({"mode": 0o666}, 0o666, 0o777)],
)
def test_permissions(tmp_path: Path, umask: None, options: dict[str, int], file: int, folder: int) -> None:
    """Files and folders have the permissions of `mode` whatever the umask; by default only the owner's."""
    path = tmp_path / "parent" / "storage"
    with sled.open(path, **options) as db:  # type: ignore[arg-type] # one of its options
        assert {mode for mode in modes(tmp_path / "parent") if mode[0]} == {(True, folder)}
        assert (path / "db").stat().st_mode & 0o777 == file
        db.insert(b"blob", BLOB)
        db.generate_id()  # writes a file
        db.flush(fsync=True)
        assert modes(tmp_path / "parent") == {(True, folder), (False, file)}
    for _ in range(2):  # writes a snapshot
        with sled.open(path) as db:
            db.insert(b"other", BLOB)
            assert db.get(b"blob") == BLOB
    assert any(path.glob("snap.*"))
    assert modes(tmp_path / "parent") == {(True, folder), (False, file)}


def test_permissions_of_a_temporary_database(umask: None) -> None:
    """A database in shared memory, where every user can look, is private too."""
    with sled.open(temporary=True) as db:
        db.insert(b"key", b"value")
        db.flush(fsync=True)
        assert (True, 0o700) in modes(db.path)
        assert {mode for is_folder, mode in modes(db.path) if not is_folder} == {0o600}


def test_existing_folder(folder: Path) -> None:
    """A folder that exists keeps its permissions, and the files in it are private from the moment they exist."""
    folder.mkdir()
    folder.chmod(0o755)
    with sled.open(folder) as db:
        db.insert(b"blob", BLOB)
    assert modes(folder) == {(True, 0o755), (True, 0o700), (False, 0o600)}


@pytest.mark.parametrize("mode", [0, 0o400, 0o700, 0o4600, 0o1777, 1 << 40])
def test_wrong_permissions(folder: Path, mode: int) -> None:
    """Permissions that lock the owner out, or are not those of a file, are refused."""
    with pytest.raises(sled.SledError, match="0o600, 0o640"):
        sled.open(folder, mode=mode)
    assert not folder.exists()


def link_elsewhere(path: Path) -> None:
    """A link to a file with the same content outside the folder."""
    target = path.parents[1] / "victim"
    target.write_bytes(path.read_bytes() if path.exists() else b"mine")
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def fifo(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def device(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to("/dev/zero")


def directory(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()


SNAPSHOT = "snap.0000000000000060"
FILES = ["conf", "db", "end", "ids", "creating", SNAPSHOT, f"{SNAPSHOT}.in___motion", "blobs/7"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("replace", [link_elsewhere, fifo, device, directory])
def test_only_regular_files(folder: Path, name: str, replace: Callable[[Path], None]) -> None:
    """Whatever is not a regular file is refused by name at once: not waited for, not followed, not written to."""
    sled.open(folder).close()
    replace(folder / name)
    victim = folder.parent / "victim"
    before = victim.read_bytes() if victim.exists() else None
    code = "import sys; from sled_sessions import sled; sled.open(sys.argv[1])"
    done = python(code, folder)
    assert "SledIOError: a database has only folders and files, and this is" in done.stderr
    assert f"({folder / name})" in done.stderr
    assert (victim.read_bytes() if victim.exists() else None) == before
    assert not (folder / "end.new").exists()


@pytest.mark.parametrize("name", ["creating", "db", "conf"])
def test_dangling_link_in_a_new_folder(folder: Path, name: str) -> None:
    """A planted link does not make a new database create a file elsewhere."""
    folder.mkdir()
    (folder / name).symlink_to(folder.parent / "victim")
    with pytest.raises(sled.SledIOError, match="symbolic link"):
        sled.open(folder)
    assert not (folder.parent / "victim").exists()


@pytest.mark.parametrize("name", ["end", "ids"])
def test_link_that_appears_while_open(folder: Path, name: str) -> None:
    """A note replaces a link in its place, and leaves what it leads to alone."""
    (folder.parent / "victim").write_bytes(b"mine")
    with sled.open(folder) as db:
        db.insert(b"key", b"value")
        (folder / name).symlink_to(folder.parent / "victim")
        (folder / f"{name}.new").symlink_to(folder.parent / "victim")
        db.generate_id()
    assert (folder.parent / "victim").read_bytes() == b"mine"
    assert not (folder / name).is_symlink()
    assert not (folder / f"{name}.new").exists()
    with sled.open(folder) as db:
        assert db.get(b"key") == b"value"


def test_links_that_are_not_ours(folder: Path) -> None:
    """The folder may be a link, and other things may be in it."""
    folder.mkdir()
    (folder / "current").symlink_to("/nowhere")
    os.mkfifo(folder / "pipe")
    (folder.parent / "link").symlink_to(folder)
    with sled.open(folder.parent / "link") as db:
        db.insert(b"key", b"value")
        assert db.path == folder


def test_sparse_file(folder: Path) -> None:
    """A file that is sparse beyond all that sled leaves is damage; it is not read for hours."""
    with sled.open(folder) as db:
        db.insert(b"key", b"value")
    for name in ("conf", "db", "snap.0000000000000060"):
        path = folder / name
        before = path.read_bytes() if path.exists() else None
        with path.open("ab") as file:
            file.truncate(1 << 40)
        done = python("import sys; from sled_sessions import sled; sled.open(sys.argv[1])", folder)
        assert f"Corruption: {folder} is damaged: of the file {name}, " in done.stderr
        path.unlink()
        if before is not None:
            path.write_bytes(before)
    with sled.open(folder) as db:
        assert db.get(b"key") == b"value"


def write_and_reopen(folder: Path, size: int) -> bytes:
    """Fill a log, empty most of its segments by reopening, and use some again and again; returns the log."""
    chance = random.Random(1)
    with sled.open(folder, segment_size=size) as db:
        removed = [number.to_bytes(4, "big") for number in range(1500)]
        for key in removed:
            db.insert(key, bytes(300))
        for number in range(100):
            db.open_tree("last").insert(number.to_bytes(4, "big"), bytes(300))
        for key in removed:
            db.remove(key)
    with sled.open(folder) as db:
        for number in range(300):
            db.insert(chance.randrange(3).to_bytes(4, "big"), chance.randbytes(500))
            if number % 20 == 0:
                db.flush()
    return (folder / "db").read_bytes()


def test_blank_segments_as_holes(tmp_path: Path) -> None:
    """A copy that leaves out blank segments opens, and nothing of it counts as lost; a missing segment does."""
    size = 8192
    for attempt in itertools.count():  # sled's threads decide which segments are free
        folder = tmp_path / str(attempt)
        content = write_and_reopen(folder, size)
        used = [at for at in range(0, len(content), size) if any(content[at : at + size])]
        if any(later - at > 2 * size for at, later in itertools.pairwise(used)):
            break  # some blank ones are in a row
        assert attempt < 50, "no blank segments in a row"

    def copy(segments: list[int]) -> None:
        (folder / "db").unlink()
        with (folder / "db").open("xb") as file:
            for at in segments:
                file.seek(at)
                file.write(content[at : at + size])
            file.truncate(len(content))

    def salvaged() -> tuple[int, int]:
        pages = Pages(folder)
        return sum(len(pairs) for name, pairs in pages if name == b"last"), pages.lost

    for missing in used:
        copy([at for at in used if at != missing])
        assert salvaged()[1] > 0
    copy(used)
    assert salvaged() == (100, 0)
    for _ in range(2):
        with sled.open(folder) as db:
            assert len(db.open_tree("last")) == 100


def test_interrupted_open(folder: Path) -> None:
    """Ctrl-C ends an open that takes long, and the process can end."""
    with sled.open(folder) as db:
        db.insert(b"key", b"value")
    (folder / "end").unlink()
    with (folder / "db").open("r+b") as file:
        for gigabyte in range(1, 1 << 12):  # 4 TB, in holes that are just short enough
            file.seek(gigabyte * (1 << 30))
            file.write(b"x")
    code = "import sys; from sled_sessions import sled; print(flush=True); sled.open(sys.argv[1])"
    with subprocess.Popen(
        [sys.executable, "-c", code, folder], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as opening:
        try:
            assert opening.stdout is not None
            opening.stdout.readline()
            time.sleep(1)
            assert opening.poll() is None
            opening.send_signal(signal.SIGINT)
            _, error = opening.communicate(timeout=10)
        finally:
            opening.kill()
    assert error.endswith(b"KeyboardInterrupt\n")
