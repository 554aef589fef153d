"""Opening: options, paths, and folders that are not databases of this format."""

import errno
import inspect
import os
import shutil
import subprocess
import sys
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from engine.files import conf
from engine.processes import held_briefly, in_fork, python, running

from sled_sessions import sled

HOLD = "import sys; from sled_sessions import sled; db = sled.open(sys.argv[1]); print('ready', flush=True); input()"


def test_signature() -> None:
    """The signature shows the options and their defaults."""
    parameters = inspect.signature(sled.open).parameters
    assert parameters["cache_capacity"].default == 1 << 30
    assert parameters["flush_every_ms"].default == 500
    assert parameters["mode"].default == 0o600
    assert {name for name, parameter in parameters.items() if parameter.kind is parameter.KEYWORD_ONLY} == {
        "cache_capacity",
        "flush_every_ms",
        "create_new",
        "temporary",
        "segment_size",
        "mode",
    }


def test_recovered(folder: Path) -> None:
    """A database knows whether it existed before, and has what was written."""
    with sled.open(folder) as db:
        assert not db.was_recovered
        assert db.path == folder
        db.insert(b"key", b"value")
        assert db.flush() > 0
        assert db.size_on_disk() > 0
    with sled.open(str(folder)) as db:
        assert db.was_recovered
        assert db.get(b"key") == b"value"


def test_folder_of_the_rust_crate(rust_storage: Path) -> None:
    """A folder that a Rust program wrote opens with all its data."""
    with sled.open(rust_storage) as db:
        assert db.was_recovered
        assert len(db.open_tree("session")) == 60


def test_a_path_that_is_a_file(tmp_path: Path) -> None:
    """A path that is a file raises an OSError that says so, and the file is unchanged."""
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(sled.SledIOError, match="a database is a folder, and this is a file") as raised:
        sled.open(file)
    assert isinstance(raised.value, OSError)
    assert file.read_text() == "mine"
    with pytest.raises(sled.SledIOError) as raised:
        sled.open(file / "below")
    assert raised.value.errno == errno.ENOTDIR
    assert raised.value.filename == str(file / "below")


def test_create_new(folder: Path) -> None:
    """create_new refuses an existing database and leaves it unchanged."""
    with sled.open(folder, create_new=True) as db:
        db.insert(b"key", b"value")
    with pytest.raises(sled.SledIOError) as raised:
        sled.open(folder, create_new=True)
    assert raised.value.errno == errno.EEXIST
    with sled.open(folder) as db:
        assert db.get(b"key") == b"value"


def test_temporary(folder: Path) -> None:
    """A temporary database, with or without a path, is deleted on close."""
    for path in (None, folder):
        db = sled.open(path, temporary=True)
        db.insert(b"key", b"value")
        assert db.path.is_dir()
        db.close()
        assert not db.path.exists()


def test_temporary_spares_files(tmp_path: Path) -> None:
    """A temporary database is refused in a folder whose files it would delete."""
    (tmp_path / "mine").touch()
    with pytest.raises(sled.SledError, match="already contains files"):
        sled.open(tmp_path, temporary=True)
    assert (tmp_path / "mine").exists()


def test_no_path() -> None:
    """A database that is not temporary needs a path, which is text or a path object."""
    with pytest.raises(TypeError, match="needs a path unless temporary=True"):
        sled.open()
    with pytest.raises(TypeError, match=r"a folder is str or os\.PathLike, not bytes"):
        sled.open(b"storage")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"a folder is str or os\.PathLike, not int"):
        sled.open(5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [
        {"cache_capacity": 255},
        {"cache_capacity": 0},
        {"flush_every_ms": 0},
        {"segment_size": 1000},
        {"segment_size": 128},
        {"segment_size": 1 << 25},
        {"cache_capacity": -1},
        {"cache_capacity": 1 << 64},
        {"flush_every_ms": -1},
        {"segment_size": -1},
    ],
)
def test_options_out_of_range(folder: Path, options: dict[str, int], capfd: pytest.CaptureFixture[str]) -> None:
    """An option that sled cannot handle raises SledError; nothing is printed, and no folder is created."""
    with pytest.raises(sled.SledError):
        sled.open(folder, **options)  # type: ignore[arg-type]
    assert capfd.readouterr() == ("", "")
    assert not folder.exists()
    sled.open(folder).close()


def test_smallest_options(folder: Path) -> None:
    """The smallest cache and no flush thread work; a database keeps its segment size."""
    with sled.open(folder, cache_capacity=256, flush_every_ms=None, segment_size=4096) as db:
        for number in range(3000):
            db.insert(number.to_bytes(4, "big"), bytes(100))
    with sled.open(folder) as db:
        assert len(db) == 3000
    with pytest.raises(sled.Unsupported, match="4096"):
        sled.open(folder, segment_size=8192)


def test_another_process_holds_the_lock(folder: Path) -> None:
    """In a second process, opening names the locked folder and its holder, and works once the first has closed it."""
    with running(HOLD, folder) as holder:
        with pytest.raises(sled.DatabaseLocked, match=f"another process has the database {folder} open"):
            sled.open(folder)
        holder.communicate("\n")
        sled.open(folder).close()


@pytest.mark.parametrize("is_new", [True, False])
def test_briefly_held_lock(folder: Path, is_new: bool) -> None:
    """Opening waits for a child process that is being started and holds copies of its parent's locks."""
    folder.mkdir()
    if not is_new:
        sled.open(folder).close()
    with held_briefly(folder / ("creating" if is_new else "db")):
        sled.open(folder).close()


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_a_file_system_without_locks(folder: Path) -> None:
    """If the file system has no locks, the error is its own and names no other process."""
    sled.open(folder).close()
    code = "import sys; from sled_sessions import sled; sled.open(sys.argv[1])"
    trace = ["strace", "-f", "-qq", "-e", "trace=flock", "--inject=flock:error=ENOLCK"]
    done = subprocess.run([*trace, sys.executable, "-c", code, folder], capture_output=True, text=True, check=False)
    if "ptrace" in done.stderr:
        pytest.skip("strace may not trace here")
    assert f"SledIOError: [Errno {errno.ENOLCK}] " in done.stderr


def test_damage_with_a_briefly_held_lock(folder: Path) -> None:
    """The files are checked even if another process held their lock for a moment."""
    sled.open(folder).close()
    (folder / "db").write_bytes(b"")
    with held_briefly(folder / "db"), pytest.raises(sled.Corruption, match="db is empty"):
        sled.open(folder)


def test_this_process_holds_the_lock(db: sled.Db, tmp_path: Path) -> None:
    """Opening a folder twice, also through another path, says that this process has it open."""
    (tmp_path / "link").symlink_to(db.path)
    for path in (db.path, tmp_path / "link", Path(os.path.relpath(db.path))):
        with pytest.raises(sled.DatabaseLocked, match="open in this process already"):
            sled.open(path)


def test_open_databases(folder: Path, tmp_path: Path) -> None:
    """A database whose variable is gone is still listed and can be closed; the error for a second open says so."""
    before = sled.open_databases()
    tree = sled.open(folder).open_tree("tree")
    with sled.open(tmp_path / "other") as other:
        found, last = [db for db in sled.open_databases() if db not in before]
        assert (found.path, last) == (folder, other)
        assert found is tree.db
        assert in_fork(sled.open_databases) == "[]"
        assert sled.transaction(lambda _: sled.open_databases(), tree) == [*before, found, other]
    with pytest.raises(sled.DatabaseLocked, match=r"sled\.open_databases\(\)"):
        sled.open(folder)
    found.close()
    assert sled.open_databases() == before
    sled.open(folder).close()


def test_change_of_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path keeps its meaning when the program changes its directory."""
    monkeypatch.chdir(tmp_path)
    with sled.open("storage") as db:
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        db.insert(b"key", bytes(500_000))
        assert db.flush(fsync=True) > 0
        assert db.get(b"key") == bytes(500_000)
    assert list(Path().iterdir()) == []


def test_format_of_sled_1(tmp_path: Path) -> None:
    """A folder of sled 1.0, which 0.34 would open as an empty database, is refused and unchanged."""
    (tmp_path / "durability_cookie").write_bytes(b"cookie")
    (tmp_path / "metadata").mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(sled.Unsupported, match=r"written by sled 1\.0"):
        sled.open(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


def test_compressed_database(folder: Path) -> None:
    """A compressed database is refused, and the error says what to do."""
    sled.open(folder).close()
    (folder / "conf").write_bytes(conf(use_compression="true"))
    with pytest.raises(sled.Unsupported, match="compression, which is not built in: export it"):
        sled.open(folder)


def test_older_format(folder: Path) -> None:
    """A database of another version of sled is refused."""
    sled.open(folder).close()
    (folder / "conf").write_bytes(conf(version="0.31"))
    with pytest.raises(sled.Unsupported, match=r"0\.31"):
        sled.open(folder)


def test_crash_while_opening(folder: Path) -> None:
    """The leftover of a crash during an open is removed; sled alone would report corruption for ever."""
    with sled.open(folder) as db:
        db.insert(b"key", b"value")
    leftover = folder / "snap.00000000000000FF.generating"
    leftover.write_bytes(b"torn")
    with sled.open(folder) as db:
        assert db.get(b"key") == b"value"
    assert not leftover.exists()


def test_a_running_snapshot_is_left_alone(folder: Path) -> None:
    """An unfinished snapshot is not touched while another process has the database open."""
    with running(HOLD, folder):
        unfinished = folder / "snap.00000000000000FF.generating"
        unfinished.write_bytes(b"being written")
        with pytest.raises(sled.DatabaseLocked):
            sled.open(folder)
        assert unfinished.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write everywhere")
def test_read_only_folder(tmp_path: Path) -> None:
    """A read-only folder raises an OSError with its errno."""
    tmp_path.chmod(0o500)
    with pytest.raises(sled.SledIOError) as raised:
        sled.open(tmp_path)
    assert raised.value.errno == errno.EACCES


def test_opening_after_a_failure(folder: Path) -> None:
    """A failed open holds no lock, in this process or for others."""
    with pytest.raises(sled.SledError):
        sled.open(folder, segment_size=1000)
    done = python("import sys; from sled_sessions import sled; sled.open(sys.argv[1]).close()", folder)
    assert (done.returncode, done.stderr) == (0, "")


def test_kill_during_creation(folder: Path) -> None:
    """A database whose creation was interrupted is created again; one that lost its content is reported as damaged."""
    conf = b"segment_size: 524288\nuse_compression: false\n"
    sealed = conf + zlib.crc32(conf).to_bytes(4, "little")
    for leftovers in (
        {},
        {"conf": b""},
        {"conf": conf},
        {"conf": b"", "db": b""},
        {"conf": sealed, "db": bytes(96)},
        {"conf": bytes(62), "db": b"header"},
    ):
        folder.mkdir()
        for name, content in {"creating": b"", **leftovers}.items():
            (folder / name).write_bytes(content)
        with sled.open(folder) as db:
            db.insert(b"key", b"value")
        assert not (folder / "creating").exists()
        with sled.open(folder) as db:
            assert db.get(b"key") == b"value"
        shutil.rmtree(folder)
    with sled.open(folder) as db:
        db.insert(b"key", b"value")
    (folder / "db").write_bytes(b"")
    with pytest.raises(sled.Corruption, match="db is empty"):
        sled.open(folder)


def test_kill_before_the_mark_is_removed(folder: Path) -> None:
    """A leftover mark beside a finished database is removed, so that it cannot hide a later loss."""
    with sled.open(folder) as db:
        db.insert(b"key", b"value")
    (folder / "creating").touch()
    with sled.open(folder) as db:
        assert db.get(b"key") == b"value"
    assert not (folder / "creating").exists()
    (folder / "db").unlink()
    for _ in range(2):
        with pytest.raises(sled.Corruption, match="db is missing"):
            sled.open(folder)
        (folder / "creating").touch()  # the note of a clean close contradicts the mark


def test_a_new_database_beside_an_old_note(folder: Path) -> None:
    """A new database ignores the note that a deleted one has left."""
    with sled.open(folder) as db:
        for number in range(3000):
            db.insert(number.to_bytes(8, "big"), bytes(300))
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != "end":
            path.unlink()
    with running(WRITE, folder) as process:
        process.kill()
        process.wait()
    with sled.open(folder) as db:
        assert dict(db) == {b"key": b"value"}


def test_an_older_copy_beside_a_newer_note(folder: Path, tmp_path: Path) -> None:
    """For an older copy beside a newer note the error names the file to delete, and then it opens."""
    with sled.open(folder) as db:
        db.insert(b"key", b"value")
    shutil.copytree(folder, tmp_path / "copy")
    with sled.open(folder) as db:
        for number in range(1000):
            db.insert(number.to_bytes(8, "big"), bytes(300))
    for snapshot in folder.glob("snap.*"):
        snapshot.unlink()
    shutil.copy(tmp_path / "copy" / "db", folder)
    with pytest.raises(sled.Corruption, match=r"older copy.*delete the file end"):
        sled.open(folder)
    (folder / "end").unlink()
    with sled.open(folder) as db:
        assert dict(db) == {b"key": b"value"}


def test_threads_open_one_folder(folder: Path) -> None:
    """If several threads open a folder, one gets the database and the others are told that this process has it."""
    for _ in range(20):
        with ThreadPoolExecutor(4) as threads:
            outcomes = list(threads.map(open_together, [folder] * 4, [threading.Barrier(4)] * 4))
        (opened,) = (outcome for outcome in outcomes if isinstance(outcome, sled.Db))
        opened.close()
        errors = [str(outcome) for outcome in outcomes if outcome is not opened]
        assert all("this process" in error and "another process" not in error for error in errors)


def open_together(folder: Path, start: threading.Barrier) -> sled.Db | sled.DatabaseLocked:
    start.wait()
    try:
        return sled.open(folder)
    except sled.DatabaseLocked as error:
        return error


def test_a_log_continues_after_its_noted_end(folder: Path) -> None:
    """The note of a clean close never makes later data look damaged, even after a kill."""
    for _ in range(3):
        sled.open(folder).close()
        with running(WRITE, folder) as process:
            process.kill()
            process.wait()
        with sled.open(folder) as db:
            assert db.get(b"key") == b"value"


WRITE = """
import sys
from sled_sessions import sled
db = sled.open(sys.argv[1])
db.insert(b"key", b"value")
db.flush(fsync=True)
print("ready", flush=True)
sys.stdin.read()
"""
