"""Trees of a program that have the names of an index's and are none: whatever is done to the database, they stay."""

import pytest
from operate.databases import EXPIRY, contents

from sled_sessions import Id, Record, SledStore, sled
from sled_sessions.operate import (
    backup,
    check_everything,
    count_expired,
    kept_store,
    open_database,
    opened_store,
    restore,
    salvage,
    stats,
)

FOREIGN = {
    "session:meta": {b"schema": b"7"},
    "users": {b"ada": b"1815"},
    "users:meta": {b"kept by": b"the program"},
    "users:expiry": {b"\0" * 24: b""},  # as an entry would be
}


@pytest.fixture
def folder(tmp_path):
    """A database with a session without an index, with another that has one, and with trees of the program's own."""
    with sled.open(tmp_path / "app") as db:
        for tree in ("session", "indexed"):
            record = Record(Id.new(), {"in": tree}, EXPIRY)
            db.open_tree(tree).insert(record.id.key, record.encode())
        SledStore(db.open_tree("indexed"))
        for name, pairs in FOREIGN.items():
            for key, value in pairs.items():
                db.open_tree(name).insert(key, value)
    return tmp_path / "app"


@pytest.mark.parametrize("tree", ["session", "users", "indexed", "session:meta", "users:expiry"])
def test_looking_changes_nothing(folder, tree):
    """Whichever tree is taken for one of sessions, what only looks leaves the database as it is."""
    before = contents(folder)
    with opened_store(folder, tree) as store:
        stats(store)
        check_everything(store)
        count_expired(store)
        list(store.records())
    assert contents(folder) == before


def test_a_backup_comes_back_whole(folder, tmp_path):
    """What a program keeps beside its sessions comes back with them."""
    with open_database(folder) as db:
        backup(db, tmp_path / "file")
    restore(tmp_path / "file", tmp_path / "new")
    assert contents(tmp_path / "new") == contents(folder)


def test_all_but_indexes_is_salvaged(folder, tmp_path):
    """Salvage leaves out indexes, and nothing else that lies in trees of their names."""
    report = salvage(folder, tmp_path / "new")
    assert not report.is_incomplete
    with sled.open(folder) as old, sled.open(tmp_path / "new") as new:
        old.drop_tree("indexed:expiry")
        old.drop_tree("indexed:meta")
        expected = {name: dict(pairs) for _, name, pairs in old.export()}
        assert {name: dict(pairs) for _, name, pairs in new.export()} == expected
        assert kept_store(new, "indexed").resolution is None


def test_an_index_in_a_tree_of_its_own_is_not_salvaged(tmp_path):
    """An index is left out wherever it lies, and a program's key beside its marker stays."""
    with sled.open(tmp_path / "old") as db:
        SledStore(db.open_tree("session"), index=db.open_tree("by date")).save(Record(Id.new(), {}, EXPIRY))
        db.open_tree("session:meta").insert(b"schema", b"7")
    salvage(tmp_path / "old", tmp_path / "new")
    with sled.open(tmp_path / "new") as db:
        assert dict(db.open_tree("session:meta")) == {b"schema": b"7"}
        assert db.open_tree("by date").is_empty()
        assert len(db.open_tree("session")) == 1
