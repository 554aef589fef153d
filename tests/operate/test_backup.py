"""Backups: restoring gives the same database, damaged files are refused, and nothing is overwritten."""

import struct
import threading
import zlib
from datetime import timedelta

import msgspec
import pytest
from operate.databases import EXPIRY, contents, fill

from sled_sessions import Id, Record, SledStore, sled
from sled_sessions.operate import (
    ContentsDiffer,
    NoDatabase,
    TargetExists,
    backup,
    check_backup,
    compact,
    contents_of,
    open_database,
    restore,
)

SEGMENT = 1 << 19
"""The size of sled's smallest file."""


def save(tmp_path, count=500):
    """A database with several trees and its backup."""
    fill(tmp_path / "old", count, expired=3)
    with open_database(tmp_path / "old") as db:
        db.insert(b"key", b"in the default tree")
        db.open_tree("empty")
        db.open_tree(b"\xff\x00 odd name").insert(b"", b"empty key")
        backup(db, tmp_path / "file")
        return db.checksum()


def test_round_trip(tmp_path):
    """All trees, names, keys and values are restored, the index included, and sled's own checksum agrees."""
    checksum = save(tmp_path)
    restored = restore(tmp_path / "file", tmp_path / "new")
    assert restored == check_backup(tmp_path / "file") == contents(tmp_path / "old") == contents(tmp_path / "new")
    with sled.open(tmp_path / "new") as db:
        assert db.checksum() == checksum
    with SledStore.open(tmp_path / "new") as store:
        assert store.verify_index()


def test_existing_target_is_refused(tmp_path):
    """An existing file or folder, even an empty one, stops a backup or a restore before anything is written."""
    save(tmp_path, 3)
    (tmp_path / "empty").mkdir()
    before = (tmp_path / "file").read_bytes()
    with open_database(tmp_path / "old") as db, pytest.raises(TargetExists):
        backup(db, tmp_path / "file")
    for target in ("old", "empty"):
        with pytest.raises(TargetExists):
            restore(tmp_path / "file", tmp_path / target)
    assert (tmp_path / "file").read_bytes() == before
    assert not list((tmp_path / "empty").iterdir())


def test_damaged_backup_is_refused(tmp_path):
    """A changed byte or a truncation anywhere is detected, and no folder appears."""
    save(tmp_path, 20)
    whole = (tmp_path / "file").read_bytes()
    for place in range(0, len(whole), 97):
        flipped = bytearray(whole)
        flipped[place] ^= 1
        for damaged in (flipped, whole[:place]):
            (tmp_path / "damaged").write_bytes(damaged)
            with pytest.raises((ContentsDiffer, NoDatabase)):
                restore(tmp_path / "damaged", tmp_path / "on the way" / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["damaged", "file", "old"]


@pytest.mark.parametrize("content", [None, b"", b"something else, and more of it than the first line has"])
def test_not_a_backup_creates_no_folder(tmp_path, content):
    """A missing file, or one that is not a backup, is refused before any folder is created, parents included."""
    if content is not None:
        (tmp_path / "file").write_bytes(content)
    with pytest.raises(FileNotFoundError if content is None else NoDatabase):
        restore(tmp_path / "file", tmp_path / "on" / "the" / "way")
    assert not (tmp_path / "on").exists()


def test_failed_restore_removes_parent_folders(tmp_path):
    """If the new folder's name is too long for the file system, the parents that were created are removed."""
    save(tmp_path, 1)
    with pytest.raises(OSError, match="too long"):
        restore(tmp_path / "file", tmp_path / "on" / "the way" / ("x" * 250))
    assert not (tmp_path / "on").exists()


def test_backup_permissions(tmp_path):
    """The file holds every session, so only its owner may read it."""
    save(tmp_path, 1)
    assert (tmp_path / "file").stat().st_mode & 0o077 == 0


def test_backup_under_load(tmp_path):
    """Sessions written during the backup are never restored without their index entry."""
    fill(tmp_path / "old", 3_000)
    stop = threading.Event()
    with SledStore.open(tmp_path / "old") as store:
        known = [record.id for record in store.records()]

        def write():
            turn = 0
            while not stop.is_set():
                turn += 1
                store.save(Record(Id.new(), {}, EXPIRY))
                store.save(Record(known[turn % len(known)], {}, EXPIRY + timedelta(hours=turn)))
                store.delete(known[turn * 7 % len(known)])

        writer = threading.Thread(target=write)
        writer.start()
        try:
            backup(store.tree.db, tmp_path / "file")
        finally:
            stop.set()
            writer.join()
    restore(tmp_path / "file", tmp_path / "new")
    with SledStore.open(tmp_path / "new") as store:
        assert store.verify_index()


def test_compact(tmp_path):
    """Compacting a file that grew by rewriting makes it small, with the same contents; the old folder is unchanged."""
    records = fill(tmp_path / "old", 500)
    with SledStore.open(tmp_path / "old") as store:
        for turn in range(60):
            for record in records:
                store.save(Record(record.id, {"turn": turn, "pad": "y" * 300}, record.expiry_date))
            store.flush()
        for record in records[10:]:
            store.delete(record.id)
    report = compact(tmp_path / "old", tmp_path / "new")
    assert report.contents == contents(tmp_path / "new") == contents(tmp_path / "old")
    assert report.size_after <= SEGMENT < report.size_before
    with pytest.raises(TargetExists):
        compact(tmp_path / "old", tmp_path / "new")
    with pytest.raises(NoDatabase):
        compact(tmp_path / "nowhere", tmp_path / "newer")
    assert not (tmp_path / "nowhere").exists()


def test_progress_ends_complete(tmp_path):
    """The last call of progress reports that everything is done."""
    save(tmp_path, 50)
    told = []
    with open_database(tmp_path / "old") as db:
        everything = contents_of(db.export(), lambda done, total: told.append((done, total)))
    assert told[-1] == (everything.pairs, everything.pairs)


@pytest.mark.parametrize(
    "block",
    [
        1,
        [],
        [b"session", 1],
        [b"session", [[b"key"]]],
        [b"session", [[b"key", b"value", b"more"]]],
        ["session", [["key", "value"]]],
        {"trees": 1, "pairs": "many", "size": 1, "checksum": ""},
        {"trees": 1},
        [b"session", [[b"key", b"value"]]],
        {"trees": 7, "pairs": 7, "size": 7, "checksum": "7"},
    ],
)
def test_right_checksum_and_wrong_content(run, tmp_path, block):
    """A block with a right checksum whose content is not a backup's is refused in one line, and no folder appears."""
    payload = msgspec.msgpack.encode(block)
    frame = struct.pack(">II", len(payload), zlib.crc32(payload))
    (tmp_path / "file").write_bytes(b"sled_sessions backup 1\n" + frame + payload)
    with pytest.raises(ContentsDiffer):
        restore(tmp_path / "file", tmp_path / "new")
    with pytest.raises(ContentsDiffer):
        check_backup(tmp_path / "file")
    result = run("restore", tmp_path / "file", tmp_path / "new")
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert not (tmp_path / "new").exists()
