"""Trees of a program that have the names of an index's and are none: whatever is done to the database, they stay."""

import pytest
from operate.databases import EXPIRY, contents

from sled_sessions import Id, Record, SledStore, sled
from sled_sessions.operate import (
    NoDatabase,
    OperationError,
    backup,
    check_everything,
    kept_store,
    open_database,
    opened_store,
    refuse_tree_of_index,
    restore,
    salvage,
    stats,
)

FOREIGN = {
    "session:meta": {b"schema": b"7"},
    "users": {b"ada": b"1815"},
    "users:meta": {b"kept by": b"the program"},
    "users:expiry": {b"\0" * 24: b""},  # looks like an entry
    "users:rotated": {b"\0" * 16: bytes(8)},  # a mark's lengths, and no moment
}


@pytest.fixture
def folder(tmp_path):
    """A database with a tree of sessions without an index, one with an index, and a program's own trees."""
    with sled.open(tmp_path / "app") as db:
        for tree in ("session", "indexed"):
            record = Record(Id.new(), {"in": tree}, EXPIRY)
            db.open_tree(tree).insert(record.id.key, record.encode())
        SledStore(db.open_tree("indexed"))
        for name, pairs in FOREIGN.items():
            for key, value in pairs.items():
                db.open_tree(name).insert(key, value)
    return tmp_path / "app"


@pytest.mark.parametrize("tree", ["session", "users", "indexed", "session:meta", "users:expiry", "users:rotated"])
def test_inspection_changes_nothing(folder, tree):
    """Inspection leaves the database unchanged, whichever tree is given."""
    before = contents(folder)
    with opened_store(folder, tree) as store:
        stats(store)
        check_everything(store)
        store.delete_expired(dry_run=True)
        list(store.records())
    assert contents(folder) == before


def test_backup_includes_other_trees(folder, tmp_path):
    """A program's own trees are restored with its sessions."""
    with open_database(folder) as db:
        backup(db, tmp_path / "file")
    restore(tmp_path / "file", tmp_path / "new")
    assert contents(tmp_path / "new") == contents(folder)


def test_salvage_leaves_out_indexes_only(folder, tmp_path):
    """Salvage leaves out indexes, and keeps other data in trees with their names."""
    report = salvage(folder, tmp_path / "new")
    assert not report.is_incomplete
    with sled.open(folder) as old, sled.open(tmp_path / "new") as new:
        old.drop_tree("indexed:expiry")
        old.drop_tree("indexed:meta")
        expected = {name: dict(pairs) for _, name, pairs in old.export()}
        assert {name: dict(pairs) for _, name, pairs in new.export()} == expected
        assert kept_store(new, "indexed").resolution is None


def test_index_is_not_salvaged(tmp_path):
    """An index is left out, and a program's key beside its marker stays."""
    with sled.open(tmp_path / "old") as db:
        SledStore(db.open_tree("session")).save(Record(Id.new(), {}, EXPIRY))
        db.open_tree("session:meta").insert(b"schema", b"7")
    salvage(tmp_path / "old", tmp_path / "new")
    with sled.open(tmp_path / "new") as db:
        assert dict(db.open_tree("session:meta")) == {b"schema": b"7"}
        assert b"session:expiry" not in db.tree_names()
        assert len(db.open_tree("session")) == 1


@pytest.fixture
def marked(tmp_path):
    """A database with a session and the mark of a changed id."""
    with sled.open(tmp_path / "marked") as db:
        store = SledStore(db.open_tree("session"))
        store.save(Record(Id.new(), {}, EXPIRY))
        store.mark_rotated(Id.new(), EXPIRY)
    return tmp_path / "marked"


def test_marks_are_not_salvaged(marked, tmp_path):
    """Salvage leaves out the marks of changed ids."""
    assert not salvage(marked, tmp_path / "new").is_incomplete
    with sled.open(tmp_path / "new") as db:
        assert b"session:rotated" not in db.tree_names()
        assert len(db.open_tree("session")) == 1


def test_marks_are_no_sessions(marked):
    """A tree of marks is not opened as one of sessions, the check finds nothing wrong, and no copy goes into it."""
    with sled.open(marked) as db:
        with pytest.raises(NoDatabase, match="marks of ids that 'session' has changed"):
            kept_store(db, "session:rotated")
        report = check_everything(kept_store(db, "session"))
    assert (bool(report), report.sessions, report.unreadable) == (True, 1, 0)
    with pytest.raises(OperationError, match="marks of changed ids"):
        refuse_tree_of_index("session:rotated")


def test_backup_keeps_marks(marked, tmp_path):
    """A backup holds the marks with everything else, so that its checksum is the database's."""
    with open_database(marked) as db:
        backup(db, tmp_path / "file")
    restore(tmp_path / "file", tmp_path / "new")
    assert contents(tmp_path / "new") == contents(marked)
