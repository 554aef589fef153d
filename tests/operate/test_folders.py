"""Opening what exists: with the index that it has, whatever that is."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from operate.databases import contents, fill

from sled_sessions import Id, Record, SledStore, sled
from sled_sessions.operate import (
    Format,
    NoDatabase,
    OperationError,
    backup,
    compact,
    export_sessions,
    format_of,
    migrate,
    open_database,
    opened_store,
    restore,
    salvage,
)
from sled_sessions.operate.files import sync_folder

FUTURE = datetime(2099, 1, 1, tzinfo=UTC)


def test_the_existing_index_is_used(tmp_path):
    """An index with its own resolution is found by its marker; none is built in its place."""
    with sled.open(tmp_path / "db") as db:
        store = SledStore(db.open_tree("session"), resolution=timedelta(minutes=1))
        store.save(Record(Id.new(), {}, FUTURE))
    before = contents(tmp_path / "db")
    with opened_store(tmp_path / "db") as store:
        assert store.resolution == timedelta(minutes=1)
        assert store.verify_index().entries == 1
    assert contents(tmp_path / "db") == before


def test_newer_index_version(tmp_path):
    """An index that a newer program has built is neither used nor dropped; the error says what to do."""
    with SledStore.open(tmp_path / "db") as store:
        store.save(Record(Id.new(), {}, FUTURE))
        marker = msgspec.msgpack.encode({"version": 2, "resolution_us": 1_000_000})
        store.tree.db.open_tree("session:meta").insert(b"expiry_index", marker)
    before = contents(tmp_path / "db")
    with pytest.raises(OperationError, match="newer sled_sessions"), opened_store(tmp_path / "db"):
        pass
    assert contents(tmp_path / "db") == before


def migrated(old, new):
    migrate(old, new, Format.V1_0)


def test_salvage_of_a_read_only_folder(tmp_path):
    """The new folder is writable for its owner, or sled could not open it."""
    fill(tmp_path / "old", 3)
    (tmp_path / "old").chmod(0o555)
    salvage(tmp_path / "old", tmp_path / "new")
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


def as_anybody(*arguments):
    """Run the command without root's capability to read and write everything."""
    fewer_rights = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    command = [*fewer_rights, sys.executable, "-m", "sled_sessions", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize("command", [["migrate", "--to", "1.0"], ["salvage"]])
def test_read_only_folder_can_be_copied(tmp_path, command):
    """Commands that read a copy of the files need no write permission."""
    fill(tmp_path / "old", 3)
    for path in (tmp_path / "old", *(tmp_path / "old").rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    done = as_anybody(*command, tmp_path / "old", tmp_path / "new")
    assert done.returncode == 0, done.stderr
    assert format_of(tmp_path / "new")


def test_unwritable_folder_is_named(tmp_path):
    """The error names the folder that is not writable, not what would have been created in it."""
    fill(tmp_path / "old", 3)
    (tmp_path / "full").mkdir(mode=0o555)
    done = as_anybody("compact", tmp_path / "old", tmp_path / "full" / "new")
    assert done.returncode == 1
    assert f"{tmp_path / 'full'} is not writable" in done.stderr


def export(db, file):
    export_sessions(db.open_tree("session"), file)


@pytest.mark.parametrize("make", [backup, export])
def test_no_file_inside_its_database(tmp_path, make):
    """A backup inside its own database is refused: it would be deleted with it."""
    fill(tmp_path / "old", 3)
    with open_database(tmp_path / "old") as db, pytest.raises(OperationError, match="inside the database"):
        make(db, tmp_path / "old" / "blobs" / "file")


@pytest.mark.parametrize("make", [compact, migrated, salvage])
def test_no_copy_inside_its_original(tmp_path, make):
    """A copy inside the original is refused: it would be copied and deleted with it."""
    fill(tmp_path / "old", 3)
    with pytest.raises(OperationError, match="inside the database"):
        make(tmp_path / "old", tmp_path / "old" / "new")


def test_restored_folder_permissions(tmp_path):
    """A backup does not record permissions, so a restored folder is for its owner only."""
    fill(tmp_path / "old", 3)
    with open_database(tmp_path / "old") as db:
        backup(db, tmp_path / "file")
    restore(tmp_path / "file", tmp_path / "new")
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


def resumed(db, file):
    export_sessions(db.open_tree("session"), file, resume=True)


@pytest.mark.parametrize("make", [backup, export, resumed])
def test_existing_partial_file_with_wide_permissions(tmp_path, make):
    """An existing partial file with wider permissions does not make a backup or export readable by others."""
    fill(tmp_path / "old", 3)
    (tmp_path / ".file.partial").touch()
    (tmp_path / ".file.partial").chmod(0o666)
    with open_database(tmp_path / "old") as db:
        make(db, tmp_path / "file")
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("make", [backup, export])
@pytest.mark.parametrize("link", [Path.symlink_to, Path.hardlink_to])
def test_no_write_through_a_link(tmp_path, make, link):
    """A partial file that is a link to another file is replaced, and the other file is unchanged."""
    fill(tmp_path / "old", 3)
    (tmp_path / "victim").write_bytes(b"mine")
    link(tmp_path / ".file.partial", tmp_path / "victim")
    with open_database(tmp_path / "old") as db:
        make(db, tmp_path / "file")
    assert (tmp_path / "victim").read_bytes() == b"mine"
    assert (tmp_path / "file").is_file()
    assert not (tmp_path / "file").is_symlink()


@pytest.mark.parametrize("spoil", [lambda path: path.chmod(0o666), lambda path: os.link(path, f"{path}.other")])
def test_resume_of_an_accessible_file(tmp_path, spoil):
    """A partial file that another user may have open, or reach by another name, is continued in a private copy."""
    fill(tmp_path / "old", 3)
    with open_database(tmp_path / "old") as db:
        export(db, tmp_path / "whole")
        first = (tmp_path / "whole").read_bytes().splitlines(keepends=True)[0]
        (tmp_path / ".file.partial").touch(0o600)
        (tmp_path / ".file.partial").write_bytes(first)
        spoil(tmp_path / ".file.partial")
        with (tmp_path / ".file.partial").open("rb") as held:
            resumed(db, tmp_path / "file")
            assert held.read() == first
    assert (tmp_path / "file").read_bytes() == (tmp_path / "whole").read_bytes()
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600


def test_no_resume_through_a_link(tmp_path):
    """A partial file that is a symbolic link is not continued: the error names it and says to delete it."""
    fill(tmp_path / "old", 3)
    (tmp_path / "victim").touch()
    (tmp_path / ".file.partial").symlink_to(tmp_path / "victim")
    with open_database(tmp_path / "old") as db, pytest.raises(OperationError, match=r"\.file\.partial .*delete it"):
        resumed(db, tmp_path / "file")
    assert (tmp_path / "victim").read_bytes() == b""
    assert not (tmp_path / "file").exists()


def test_unusable_partial_file_is_named(tmp_path):
    """A partial file with other content is named in the error and left unchanged."""
    fill(tmp_path / "old", 3)
    (tmp_path / ".file.partial").write_bytes(b"to do: everything\n")
    with open_database(tmp_path / "old") as db, pytest.raises(OperationError, match=r"\.file\.partial .*delete it"):
        resumed(db, tmp_path / "file")
    assert (tmp_path / ".file.partial").read_bytes() == b"to do: everything\n"


@pytest.mark.parametrize("name", ["conf", "db", "durability_cookie"])
def test_other_folder_is_not_a_database(tmp_path, name):
    """A project with a folder of this name is not a database, and none is created in it."""
    (tmp_path / name).mkdir()
    with pytest.raises(NoDatabase):
        open_database(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_folder_without_fsync():
    """Where a file system has no fsync for folders, such as /proc, a copy is made all the same."""
    sync_folder(Path("/proc/self"))
    with pytest.raises(FileNotFoundError):
        sync_folder(Path("/proc/self/nothing"))
