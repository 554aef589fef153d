"""From sled 0.34 to 1.0 and back: everything arrives, and nothing else is touched or looks finished."""

import os
import shutil
import time

import pytest
from engine.processes import in_fork, living_child, python
from operate.databases import contents, fill, start

from sled_sessions import SledStore, sled
from sled_sessions.operate import (
    Format,
    NoDatabase,
    OperationError,
    TargetExists,
    contents_of,
    folders,
    format_of,
    migrate,
)
from sled_sessions.sled import v1


def files(folder):
    return {
        path.relative_to(folder): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_round_trip(tmp_path, rust_storage):
    """A database that the Rust crate wrote is the same after migrating to 1.0 and back; the sources are unchanged."""
    with sled.open(rust_storage) as db:
        db.insert(b"key", b"in the default tree")
        db.open_tree("empty")
        db.open_tree(b"\xff\x00 odd name").insert(b"", b"empty key")
        db.open_tree("large").insert(b"large", b"x" * 300_000)
        checksum = db.checksum()
    old = files(rust_storage)
    there = migrate(rust_storage, tmp_path / "new", Format.V1_0)
    assert files(rust_storage) == old
    assert format_of(tmp_path / "new") is Format.V1_0
    new = files(tmp_path / "new")
    back = migrate(tmp_path / "new", tmp_path / "back", Format.V0_34)
    assert files(tmp_path / "new") == new
    assert there == back == contents(tmp_path / "back")
    with sled.open(tmp_path / "back") as db:
        assert db.checksum() == checksum
    assert {path.name for path in tmp_path.iterdir()} == {"storage", "new", "back"}


def test_migrated_store_works(tmp_path):
    """Sessions, their index and its resolution survive migration to 1.0 and back."""
    records = fill(tmp_path / "old", 3_000, expired=5)
    migrate(tmp_path / "old", tmp_path / "new", Format.V1_0)
    migrate(tmp_path / "new", tmp_path / "back", Format.V0_34)
    with SledStore.open(tmp_path / "back") as store:
        assert store.verify_index()
        assert {record.id: record for record in store.records()} == {record.id: record for record in records}
        assert store.delete_expired().deleted == 5


def test_folders_are_synced(tmp_path, monkeypatch):
    """Every folder of the new database is synced before the database appears."""
    fill(tmp_path / "old", 3)
    sync_folder, synced = folders.sync_folder, []

    def noting(folder):
        synced.append((folder, (tmp_path / "new").exists()))
        sync_folder(folder)

    monkeypatch.setattr(folders, "sync_folder", noting)
    migrate(tmp_path / "old", tmp_path / "new", Format.V1_0)
    partial = synced[0][0]
    assert synced[-1] == (tmp_path, True)
    assert set(synced[:-1]) == {(folder, False) for folder in (partial, partial / "slabs", partial / "metadata")}


def test_opening_a_1_0_folder(tmp_path):
    """Opening a 1.0 folder says what it is and what helps, and leaves it unchanged."""
    fill(tmp_path / "old", 3)
    migrate(tmp_path / "old", tmp_path / "new", Format.V1_0)
    before = files(tmp_path / "new")
    for opening in (sled.open, SledStore.open):
        with pytest.raises(sled.Unsupported, match=r"new was written by sled 1\.0.*import the export of its v1\.Db"):
            opening(tmp_path / "new")
    assert files(tmp_path / "new") == before


def test_refusals(tmp_path):
    """A missing database, an existing target and a format that the source has already are refused up front."""
    fill(tmp_path / "old", 3)
    with pytest.raises(NoDatabase):
        migrate(tmp_path / "nowhere", tmp_path / "new", Format.V1_0)
    with pytest.raises(OperationError, match="already"):
        migrate(tmp_path / "old", tmp_path / "new", Format.V0_34)
    with pytest.raises(TargetExists):
        migrate(tmp_path / "old", tmp_path / "old", Format.V1_0)
    with sled.open(tmp_path / "old"), pytest.raises(sled.DatabaseLocked):
        migrate(tmp_path / "old", tmp_path / "new", Format.V1_0)
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_locked_1_0_folder(tmp_path):
    """The lock of sled 1.0 is honoured, too."""
    fill(tmp_path / "old", 3)
    migrate(tmp_path / "old", tmp_path / "new", Format.V1_0)
    with v1.Db(tmp_path / "new"), pytest.raises(sled.DatabaseLocked):
        migrate(tmp_path / "new", tmp_path / "back", Format.V0_34)
    assert not (tmp_path / "back").exists()


def test_second_import_fails(tmp_path):
    """A second import into a 1.0 database fails instead of mixing the two."""
    fill(tmp_path / "old", 3)
    with sled.open(tmp_path / "old") as db, v1.Db(tmp_path / "new") as new:
        new.import_(db.export())
        assert contents_of(new.export()) == contents_of(db.export())
        with pytest.raises(sled.SledError, match="already"):
            new.import_(db.export())


def test_failed_import_keeps_the_old_value(tmp_path):
    """An import that fails at an existing key leaves that key's value unchanged."""
    with v1.Db(tmp_path / "new") as db:
        db.import_([(b"tree", b"t", [(b"key", b"old")])])
        with pytest.raises(sled.SledError, match="already"):
            db.import_([(b"tree", b"t", [(b"key", b"new")])])
        assert dict(next(pairs for _, name, pairs in db.export() if name == b"t")) == {b"key": b"old"}


def test_0_34_folder_is_not_opened_as_1_0(tmp_path):
    """A folder of 0.34, in which sled 1.0 would create an empty database, is refused and left unchanged."""
    fill(tmp_path / "old", 3)
    before = files(tmp_path / "old")
    with pytest.raises(sled.Unsupported, match=r"old was written by sled 0\.34.*import the export of its sled\.Db"):
        v1.Db(tmp_path / "old")
    (tmp_path / "old" / "conf").unlink()
    with pytest.raises(sled.Unsupported):
        v1.Db(tmp_path / "old")
    before.pop(next(path for path in before if path.name == "conf"))
    assert files(tmp_path / "old") == before


def test_relative_path_after_chdir(tmp_path, monkeypatch):
    """A relative path keeps naming the same folder, also when a large import reopens it."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)

    def pairs():
        for number in range(40_000):
            if number == 20_000:
                monkeypatch.chdir(tmp_path / "elsewhere")
            yield number.to_bytes(8, "big"), bytes(1000)

    with v1.Db("new") as db:
        db.import_([(b"tree", b"t", pairs())])
        assert next(sum(1 for _ in pairs) for _, name, pairs in db.export() if name == b"t") == 40_000
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_1_0_database_in_a_forked_child(tmp_path):
    """A child that drops an open 1.0 database neither hangs nor writes; the parent continues."""
    open_databases = [v1.Db(tmp_path / "new")]
    open_databases[0].import_([(b"tree", b"t", [(b"key", b"value")])])
    assert in_fork(open_databases.clear) == "None"
    assert dict(next(pairs for _, name, pairs in open_databases[0].export() if name == b"t")) == {b"key": b"value"}
    open_databases[0].close()


def test_forked_child_does_not_hold_the_1_0_lock(tmp_path):
    """A child that was forked while a 1.0 database was open does not keep its folder locked."""
    db = v1.Db(tmp_path / "new")
    with living_child():
        db.close()
        v1.Db(tmp_path / "new").close()


def test_1_0_folder_opened_twice(tmp_path):
    """Opening a 1.0 folder twice in one process says that this process has it open."""
    with v1.Db(tmp_path / "new"), pytest.raises(sled.DatabaseLocked, match="open in this process already"):
        v1.Db(tmp_path / "new")
    v1.Db(tmp_path / "new").close()


@pytest.fixture
def folder_1_0(tmp_path):
    """A database of sled 1.0 with half of its pairs in a snapshot and the others in its log."""
    for half in range(2):
        with v1.Db(tmp_path / "old") as db:
            keys = [number.to_bytes(4, "big") for number in range(half, 5_000, 2)]
            db.import_([(b"tree", b"session", [(key, key * 10) for key in keys])])
    return tmp_path / "old"


def the(pattern, folder):
    (file,) = folder.glob(pattern)
    return file


def flip(pattern, place):
    """Flip a bit in this part of the file."""

    def damage(folder):
        content = bytearray(the(pattern, folder).read_bytes())
        content[int(len(content) * place)] ^= 1
        the(pattern, folder).write_bytes(content)

    return damage


LOG, SNAPSHOT = "metadata/log_*", "metadata/snapshot_*"
DAMAGES_1_0 = {
    **{f"a bit of the log at {place}": flip(LOG, place) for place in (0, 0.2, 0.5, 0.8, 0.999)},
    "no log": lambda folder: the(LOG, folder).unlink(),
    "an older log": lambda folder: the(LOG, folder).rename(folder / f"metadata/log_{1:016x}"),
    "a bit of the snapshot": flip(SNAPSHOT, 0.5),
    "a bit of the snapshot's length": flip(SNAPSHOT, 0),
    "half a snapshot": lambda folder: os.truncate(the(SNAPSHOT, folder), 20),
    "no snapshot": lambda folder: the(SNAPSHOT, folder).unlink(),
    "no metadata": lambda folder: shutil.rmtree(folder / "metadata"),
    "a damaged cookie": flip("durability_cookie", 0.2),
}


@pytest.mark.parametrize("name", DAMAGES_1_0)
def test_damaged_1_0_metadata(tmp_path, folder_1_0, name):
    """Damaged metadata, from which sled 1.0 would open a database that lacks data, is an error; nothing is migrated."""
    DAMAGES_1_0[name](folder_1_0)
    before = files(folder_1_0)
    for _ in range(2):
        with pytest.raises(sled.Corruption, match=r"damaged: [^\n]+Restore a backup$"):
            v1.Db(folder_1_0)
    after = files(folder_1_0)
    assert {path: content for path, (_, content) in after.items()} == {
        path: content for path, (_, content) in before.items()
    }
    with pytest.raises(sled.Corruption, match=f"^{folder_1_0} is damaged"):
        migrate(folder_1_0, tmp_path / "new", Format.V0_34)
    assert {path.name for path in tmp_path.iterdir()} == {"old"}


def test_1_0_log_cut_by_a_kill(tmp_path, folder_1_0):
    """A frame that is cut off at the log's end is what a kill leaves: the database opens with everything before it."""
    log = the(LOG, folder_1_0)
    content = log.read_bytes()
    frame = content[: int.from_bytes(content[:6], "little") + 12]
    for length in (0, 1, 7, 8, 9, len(frame) // 2, len(frame) - 1):
        folder = tmp_path / str(length)
        shutil.copytree(folder_1_0, folder)
        (folder / "metadata" / log.name).write_bytes(content + frame[:length])
        with v1.Db(folder) as db:
            assert next(len(list(pairs)) for _, name, pairs in db.export() if name == b"session") == 5_000
    log.write_bytes(content + frame[:-1])
    log.with_name(f"log_{int(log.name[4:], 16) + 1:016x}").write_bytes(frame)
    with pytest.raises(sled.Corruption, match=f"metadata/{log.name} is, at byte {len(content)} "):
        v1.Db(folder_1_0)


def test_half_created_1_0_folder(tmp_path):
    """A folder that sled 1.0 had only begun to create opens as an empty database."""
    v1.Db(tmp_path / "new").close()
    shutil.rmtree(tmp_path / "new" / "metadata")
    with v1.Db(tmp_path / "new") as db:
        assert db.tree_names() == [b"__sled__default"]


def test_damaged_1_0_folder_does_not_hang(tmp_path, folder_1_0):
    """Where opening panics inside sled 1.0, which then waits for ever, every attempt raises an error."""
    for slab in folder_1_0.glob("slabs/*"):
        slab.write_bytes(bytes(slab.stat().st_size))
    code = (
        "import sys; from sled_sessions import sled; from sled_sessions.sled import v1\n"
        "for _ in range(2):\n"
        "    try: v1.Db(sys.argv[1])\n"
        "    except sled.Corruption as error: print(error)\n"
    )
    done = python(code, folder_1_0)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert all(str(folder_1_0) in line and "Restore a backup" in line for line in lines)


def test_interrupt_while_reading_1_0(tmp_path):
    """Where sled 1.0 waits for ever for a leaf that a truncated log does not name, Ctrl-C ends the program."""
    with v1.Db(tmp_path / "old") as db:
        db.import_([(b"tree", b"session", [(number.to_bytes(4, "big"), os.urandom(50)) for number in range(5_000)])])
    os.truncate(the(LOG, tmp_path / "old"), the(LOG, tmp_path / "old").stat().st_size // 3)
    code = (
        "import os, signal, sys, threading; from sled_sessions.sled import v1\n"
        "threading.Timer(1, lambda: os.kill(os.getpid(), signal.SIGINT)).start()\n"
        "try:\n"
        "    with v1.Db(sys.argv[1]) as db:\n"
        "        for _, _, pairs in db.export(): list(pairs)\n"
        "    print('not damaged as it should be')\n"
        "except KeyboardInterrupt: print('interrupted')\n"
    )
    done = python(code, tmp_path / "old")
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\n", "")


@pytest.mark.slow
@pytest.mark.parametrize("to", list(Format))
def test_kill_at_any_moment(tmp_path, to):
    """After kill -9 there is either no target or a complete one, and the migration can be repeated."""
    fill(tmp_path / "old", 20_000)
    old = tmp_path / "old"
    if to is Format.V0_34:
        old = tmp_path / "older"
        migrate(tmp_path / "old", old, Format.V1_0)
    code = (
        "import sys; from sled_sessions.operate import *; print('go');"
        "migrate(sys.argv[1], sys.argv[2], Format(sys.argv[3])); print('done')"
    )
    began = time.monotonic()
    with start(code, old, tmp_path / "whole", to.value) as run:
        assert run.communicate()[0] == "go\ndone\n"
    whole = time.monotonic() - began
    expected = contents(tmp_path / "old")
    for turn in range(6):
        target = tmp_path / f"new{turn}"
        with start(code, old, target, to.value) as run:
            assert run.stdout.readline() == "go\n"
            time.sleep(whole * turn / 6)
            run.kill()
        if target.exists():
            back = target
            if to is Format.V1_0:
                back = tmp_path / f"back{turn}"
                migrate(target, back, Format.V0_34)
            assert contents(back) == expected
    assert migrate(old, tmp_path / "again", to) == expected
