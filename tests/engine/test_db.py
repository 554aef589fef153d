"""Databases and their trees: names, handles, dropping, checksums, ids."""

import weakref
from pathlib import Path

import pytest
from engine.processes import python

from sled_sessions import sled


def test_trees(db: sled.Db) -> None:
    """Trees have names, are separate, and know their database, which is its own default tree."""
    assert isinstance(db, sled.Tree)
    assert db.db is db
    assert db.name == b"__sled__default"
    text, raw = db.open_tree("ä"), db.open_tree(b"\xff")
    assert text.name == "ä".encode()
    assert db.tree_names() == [b"__sled__default", "ä".encode(), b"\xff"]
    assert text.db is raw.db is db
    text.insert(b"key", b"text")
    db.insert(b"key", b"default")
    assert (text.get(b"key"), raw.get(b"key"), db.get(b"key")) == (b"text", None, b"default")
    assert db.open_tree("ä".encode()).get(b"key") == b"text"


def test_wrong_names(db: sled.Db, tree: sled.Tree) -> None:
    """Anything but text or bytes as a tree's name raises a TypeError that says so."""
    for call in (db.open_tree, db.drop_tree):
        for name, kind in ((5, "int"), (tree, "Tree"), (None, "NoneType")):
            with pytest.raises(TypeError, match=f"a tree's name is str or bytes, not {kind}"):
                call(name)  # type: ignore[arg-type]


def test_dropped_tree(db: sled.Db) -> None:
    """The handles of a dropped tree raise, and a new tree of that name is empty."""
    tree = db.open_tree("tree")
    tree.insert(b"key", b"value")
    assert db.drop_tree("tree") is True
    assert db.drop_tree(b"tree") is False
    with pytest.raises(sled.CollectionNotFound, match=r"open it again with Db\.open_tree"):
        tree.get(b"key")
    with pytest.raises(sled.CollectionNotFound):
        list(tree)
    assert db.open_tree("tree").is_empty()
    with pytest.raises(sled.Unsupported):
        db.drop_tree("__sled__default")


def test_weak_references(db: sled.Db) -> None:
    """Databases and trees can be keys of weak dictionaries."""
    tree = db.open_tree("tree")
    table = weakref.WeakKeyDictionary({db: 1, tree: 2})
    assert table[tree.db] == 1
    del tree
    assert dict(table) == {db: 1}


def test_reprs_show_no_data(tree: sled.Tree) -> None:
    """A repr names the tree and its folder but shows no key or value."""
    tree.insert(b"secret", b"secret")
    assert "tree" in repr(tree)
    assert "secret" not in repr(tree) + repr(tree.range()) + repr(tree.db)
    with pytest.raises(TypeError):
        sled.Tree()


def test_checksums(db: sled.Db) -> None:
    """Equal contents have equal checksums; different contents have different ones."""
    one, other = db.open_tree("one"), db.open_tree("other")
    one.insert(b"key", b"value")
    before = db.checksum()
    assert one.checksum() != other.checksum()
    other.insert(b"key", b"value")
    assert one.checksum() == other.checksum()
    assert db.checksum() != before


def test_generated_ids_rise(db: sled.Db) -> None:
    """Ids rise and never repeat, even after a restart."""
    ids = [db.generate_id() for _ in range(1000)]
    db.close()
    with sled.open(db.path) as again:
        ids.append(again.generate_id())
    assert ids == sorted(set(ids))


@pytest.mark.slow
def test_dropping_a_tree_that_is_being_emptied(folder: Path) -> None:
    """drop_tree() returns beside a thread that removes keys, which then gets CollectionNotFound."""
    code = """
import sys, threading
from sled_sessions import sled
db = sled.open(sys.argv[1])
def clear(tree):
    try: tree.clear()
    except sled.CollectionNotFound: pass
for turn in range(300):
    tree = db.open_tree("tree")
    for number in range(300): tree.insert(b"%d" % number, b"value")
    threads = [threading.Thread(target=clear, args=[tree]), threading.Thread(target=db.drop_tree, args=["tree"])]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
"""
    done = python(code, folder)
    assert (done.returncode, done.stderr) == (0, "")
