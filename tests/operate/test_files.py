"""Whose eyes and hands a database's files and the files made from it are safe from: modes, links, FIFOs, holes."""

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from command import COMMAND
from operate.databases import contents, fill, lines

from sled_sessions import Id, Record, SledStore
from sled_sessions.operate import (
    Format,
    TargetExists,
    appearing_file,
    backup,
    compact,
    export_sessions,
    migrate,
    open_database,
    restore,
    salvage,
)
from sled_sessions.sled import v1

LARGE = Record(Id.new(), {"pad": "x" * 150_000}, datetime.now(UTC) + timedelta(days=1))
"""Its page is a blob, in a file of its own."""


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request):
    """Umasks that would let everyone, or the owner only, read new files."""
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.fixture
def old(tmp_path):
    """A database with a few sessions, one of which is in a blob."""
    fill(tmp_path / "old", 5)
    with SledStore.open(tmp_path / "old", max_record_bytes=1_000_000) as store:
        store.save(LARGE)
    assert any((tmp_path / "old" / "blobs").iterdir())
    return tmp_path / "old"


def run(*arguments, **options):
    """Run a command, which must end soon."""
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, **options)


def modes(path):
    """The permissions of a file, or of a folder and everything in it, with True for folders."""
    found = {(each.is_dir(), each.stat().st_mode & 0o777) for each in (path, *path.rglob("*"))}
    assert all(each.stat().st_mode & 0o7000 == 0 for each in path.rglob("*"))
    return found


PRIVATE = {(True, 0o700), (False, 0o600)}


def restored(old, new):
    with open_database(old) as db:
        backup(db, new.with_suffix(".bak"))
    assert modes(new.with_suffix(".bak")) == {(False, 0o600)}
    restore(new.with_suffix(".bak"), new)


def migrated(old, new):
    migrate(old, new, Format.V1_0)


def migrated_back(old, new):
    migrated(old, new.with_suffix(".1"))
    migrate(new.with_suffix(".1"), new, Format.V0_34)


def imported(old, new):
    with open_database(old) as db:
        export_sessions(db.open_tree("session"), new.with_suffix(".jsonl"))
    assert modes(new.with_suffix(".jsonl")) == {(False, 0o600)}
    assert run("import", new, new.with_suffix(".jsonl")).returncode == 3  # the large record is too large


def copied(old, new):
    assert run("copy", old, new).returncode == 3  # the large record is too large


@pytest.mark.parametrize("make", [compact, migrated, migrated_back, salvage, restored, imported, copied])
def test_new_databases_are_private(old, umask, make):
    """Whatever the umask and the old folder's permissions, a new database can be read by its owner only."""
    for path in (old, *old.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    make(old, old.parent / "parent" / "new" if make is not restored and make is not imported else old.parent / "new")
    assert {mode for path in old.parent.iterdir() if path != old for mode in modes(path)} == PRIVATE


def test_old_folder_is_left_alone(old):
    """Reading a database changes no permissions; files that sled adds get those of its file db."""
    for each in (old, *old.rglob("*")):
        each.chmod(0o755 if each.is_dir() else 0o644)
    with SledStore.open(old):
        pass
    assert modes(old) == {(True, 0o755), (False, 0o644)}


def test_readable_by_others(old):
    """A command that meets a database that others can read says so in one line on stderr, and how to end it."""
    for each in (old, *old.rglob("*")):
        each.chmod(0o755 if each.is_dir() else 0o644)
    parents = [each for each in old.parents if not each.stat().st_mode & 0o001]
    before = [each.stat().st_mode & 0o7777 for each in parents]
    assert run("stats", old).stderr == ""  # because a folder above is private
    try:
        for each in parents:
            each.chmod(0o711)
        done = run("stats", old)
        assert done.stderr == (
            f"sled-sessions: {old}: other users can read it, and session ids are as good as passwords: "
            f"chmod -R go= {old}\n"
        )
        assert done.returncode == 0
        assert len(run("copy", old, old.parent / "new").stderr.splitlines()) == 1
        subprocess.run(["chmod", "-R", "go=", old], check=True)
        assert run("stats", old).stderr == ""
    finally:
        for each, mode in zip(parents, before, strict=True):
            each.chmod(mode)


def test_copy_through_a_link(old):
    """`copy` to a file writes neither through a symbolic link nor into a file that others can open."""
    planted, target = old.parent / "planted", old.parent / "out.jsonl"
    planted.touch()
    planted.chmod(0o666)
    target.symlink_to(planted)
    done = run("copy", old, target)
    assert (done.returncode, planted.read_bytes()) == (1, b"")
    assert "is a symbolic link" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    target.unlink()
    planted.rename(target)
    with target.open("rb") as held:  # by another user
        assert run("copy", old, target).returncode == 0
        assert held.read() == b""
    assert len(lines(target)) == 6
    assert modes(target) == {(False, 0o600)}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_copy_into_a_file_of_another_user(old):
    """Sessions that another user has put into a file are not continued as if they were one's own."""
    target = old.parent / "out.jsonl"
    assert run("copy", old, target).returncode == 0
    before = target.read_bytes()
    os.chown(target, 65534, 65534)
    done = run("copy", old, target)
    assert (done.returncode, target.read_bytes()) == (1, before)
    assert "belongs to another user" in done.stderr


def test_a_failed_write_changes_nothing(tmp_path):
    """Until a file is complete, the one that it replaces is unchanged; a link at its name stays unfollowed."""
    (tmp_path / "victim").write_bytes(b"mine")
    (tmp_path / "file").symlink_to(tmp_path / "victim")
    with pytest.raises(TypeError), appearing_file(tmp_path / "file", replace=True) as file:
        file.writelines([b"half", None])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "victim"]
    with pytest.raises(TargetExists), appearing_file(tmp_path / "file"):
        pass
    with appearing_file(tmp_path / "file", replace=True) as file:
        file.write(b"whole")
    assert (tmp_path / "victim").read_bytes() == b"mine"
    assert (tmp_path / "file").read_bytes() == b"whole"
    assert not (tmp_path / "file").is_symlink()


def test_plot_through_a_link(tmp_path):
    """A plot takes the place of a link instead of going where it leads."""
    (tmp_path / "victim").write_bytes(b"mine")
    (tmp_path / "plot.svg").symlink_to(tmp_path / "victim")
    done = run("compare", "--sizes", "100", "--repeat", "1", "--plot", tmp_path / "plot.svg")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "victim").read_bytes() == b"mine"
    assert b"<svg" in (tmp_path / "plot.svg").read_bytes()


def replace_with_link(path):
    """Move a file or folder away, and put a link to it in its place."""
    moved = path.rename(path.parents[1] / "elsewhere")
    path.symlink_to(moved)


def replace_with_fifo(path):
    path.unlink()
    os.mkfifo(path)


ODD = [replace_with_link, replace_with_fifo]


@pytest.mark.parametrize("command", [["migrate", "--to", "1.0"], ["salvage"]])
@pytest.mark.parametrize("name", ["conf", "db", "end", "blobs"])
@pytest.mark.parametrize("replace", ODD)
def test_copies_take_regular_files_only(old, command, name, replace):
    """A link or a FIFO among the files ends a copy with one line that names it, and nothing of elsewhere is copied."""
    if name == "blobs":
        (name,) = (path.relative_to(old) for path in (old / "blobs").iterdir())
    replace(old / name)
    done = run(*command, old, old.parent / "new")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert Path(name).name in done.stderr
    assert {path.name for path in old.parent.iterdir()} <= {"old", "elsewhere"}


def test_copies_of_1_0_take_regular_files_only(old):
    """The same for databases of sled 1.0, whether they are copied or opened."""
    migrated(old, old.parent / "new")
    log = next((old.parent / "new" / "metadata").glob("log_*"))
    replace_with_fifo(log)
    done = run("migrate", "--to", "0.34", old.parent / "new", old.parent / "back")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert log.name in done.stderr
    code = "import sys; from sled_sessions.sled import v1; v1.Db(sys.argv[1])"
    opened = subprocess.run([sys.executable, "-c", code, log.parents[1]], capture_output=True, text=True, timeout=30)
    assert "SledIOError" in opened.stderr


def test_link_to_a_folder(old):
    """A link to the whole folder is followed, by commands that open it and by those that copy it."""
    (old.parent / "link").symlink_to(old)
    assert run("stats", old.parent / "link").returncode == 0
    migrated(old.parent / "link", old.parent / "new")
    with open_database(old.parent / "link") as db, v1.Db(old.parent / "new") as new:
        assert new.tree_names() == db.tree_names()


def test_sparse_terabytes(old):
    """A file db that is mostly a hole is refused by what opens it, salvaged as it is, and its holes stay holes."""
    before = contents(old)
    os.truncate(old / "db", 1 << 40)
    (old / "end").unlink()
    for command in (["stats", old], ["migrate", "--to", "1.0", old, old.parent / "new"]):
        done = run(*command)
        assert done.returncode == 5, done.stderr
        assert "never written" in done.stderr
    salvage(old, old.parent / "new")
    with open_database(old.parent / "new") as db:
        assert len(db.open_tree("session")) == 6
    assert (old.parent / "new" / "db").stat().st_size < 1 << 30
    assert before.pairs > 6


def test_interrupted_copy_of_a_large_folder(old):
    """Ctrl-C ends a copy while a large file is read, and leaves nothing."""
    with (old / "blobs" / "1").open("wb") as file:
        for _ in range(300):
            file.write(bytes(1 << 20))
    process = subprocess.Popen([*COMMAND, "salvage", old, old.parent / "new"], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 20
    while not list(old.parent.glob(".new.*/*/*/1")) and not list(old.parent.rglob("*.partial/copy/db")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=20)
    assert (process.returncode, error.strip()) == (130, "sled-sessions: interrupted")
    assert {path.name for path in old.parent.iterdir()} == {"old"}
