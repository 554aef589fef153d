"""Backups: the same database comes back, a damaged file never does, and nothing is written over."""

import threading
from datetime import timedelta

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


def save(tmp_path, count=500):
    """A database with several trees and its backup."""
    fill(tmp_path / "old", count, expired=3)
    with open_database(tmp_path / "old") as db:
        db.insert(b"key", b"in the default tree")
        db.open_tree("empty")
        db.open_tree(b"\xff\x00 odd name").insert(b"", b"empty key")
        backup(db, tmp_path / "file")
        return db.checksum()


def test_a_backup_comes_back_whole(tmp_path):
    """All trees, names, keys and values come back, the index included, and sled's own checksum agrees."""
    checksum = save(tmp_path)
    restored = restore(tmp_path / "file", tmp_path / "new")
    assert restored == check_backup(tmp_path / "file") == contents(tmp_path / "old") == contents(tmp_path / "new")
    with sled.open(tmp_path / "new") as db:
        assert db.checksum() == checksum
    with SledStore.open(tmp_path / "new") as store:
        assert store.verify_index()


def test_nothing_is_written_over(tmp_path):
    """An existing file or folder, be it empty, stops a backup and a restore before anything happens."""
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


def test_a_damaged_backup_is_refused_wherever_it_is_damaged(tmp_path):
    """A changed byte anywhere, and an end anywhere, is found; and no folder appears."""
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
def test_a_backup_that_is_none_makes_no_folder(tmp_path, content):
    """A file that is missing or something else is told before any folder is made, those on the way included."""
    if content is not None:
        (tmp_path / "file").write_bytes(content)
    with pytest.raises(FileNotFoundError if content is None else NoDatabase):
        restore(tmp_path / "file", tmp_path / "on" / "the" / "way")
    assert not (tmp_path / "on").exists()


def test_a_folder_that_cannot_be_made_leaves_none_on_the_way(tmp_path):
    """When the new folder's name is too long for the disk, the folders on the way to it are taken back."""
    save(tmp_path, 1)
    with pytest.raises(OSError, match="too long"):
        restore(tmp_path / "file", tmp_path / "on" / "the way" / ("x" * 250))
    assert not (tmp_path / "on").exists()


def test_a_backup_is_for_its_owner_only(tmp_path):
    """The file holds every session, so nobody else may read it."""
    save(tmp_path, 1)
    assert (tmp_path / "file").stat().st_mode & 0o077 == 0


def test_a_backup_under_load_is_restored_with_a_right_index(tmp_path):
    """Sessions that are written while the backup is made never come back without their index entry."""
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


def test_compacting_drops_dead_space_and_nothing_else(tmp_path):
    """A file that grew by rewriting is small again, with the same contents, and the old folder is as it was."""
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
    assert report.size_after < report.size_before / 4
    with pytest.raises(TargetExists):
        compact(tmp_path / "old", tmp_path / "new")
    with pytest.raises(NoDatabase):
        compact(tmp_path / "nowhere", tmp_path / "newer")
    assert not (tmp_path / "nowhere").exists()


def test_progress_is_told_to_the_end(tmp_path):
    """The last word on progress is that all is done."""
    save(tmp_path, 50)
    told = []
    with open_database(tmp_path / "old") as db:
        everything = contents_of(db.export(), lambda done, total: told.append((done, total)))
    assert told[-1] == (everything.pairs, everything.pairs)
