"""Exports and imports: complete, in sled's own form, and streamed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sled_sessions import sled


def test_round_trip(db: sled.Db, tmp_path: Path) -> None:
    """Importing an export gives an equal database: trees, pairs and checksum."""
    for name in ("one", "other", b"\xff"):
        tree = db.open_tree(name)
        for number in range(1500):
            tree.insert(number.to_bytes(4, "big"), b"%d" % number)
    db.insert(b"default", b"")
    with sled.open(tmp_path / "copy") as copy:
        copy.import_(db.export())
        assert copy.tree_names() == db.tree_names()
        assert copy.checksum() == db.checksum()
        assert all(list(copy.open_tree(name)) == list(db.open_tree(name)) for name in db.tree_names())


def test_form(db: sled.Db) -> None:
    """An export has the form of sled's own export, and anything of that form can be imported."""
    db.import_([(b"tree", "text", [(b"key", bytearray(b"value"))]), [b"tree", b"empty", iter([])]])
    exported = [(kind, name, list(pairs)) for kind, name, pairs in db.export()]
    assert exported == [
        (b"tree", b"__sled__default", []),
        (b"tree", b"empty", []),
        (b"tree", b"text", [(b"key", b"value")]),
    ]


def test_nothing_is_overwritten(db: sled.Db) -> None:
    """Importing an existing key raises and keeps its value; sled's own import overwrites it and panics."""
    tree = db.open_tree("tree")
    tree.insert(b"key", b"mine")
    with pytest.raises(sled.SledError, match="holds a key of the import already: import into an empty database"):
        db.import_([(b"tree", b"tree", [(b"before", b"new"), (b"key", b"theirs")])])
    assert dict(tree) == {b"before": b"new", b"key": b"mine"}


def test_wrong_imports(db: sled.Db) -> None:
    """Anything but an export is refused, and an exception of its iterator is passed on unchanged."""
    with pytest.raises(sled.SledError, match="only collections of type b'tree'"):
        db.import_([(b"table", b"name", [])])
    with pytest.raises(TypeError, match="bytes, not str"):
        db.import_([(b"tree", b"name", [("key", b"value")])])  # type: ignore[list-item]
    with pytest.raises(TypeError):
        db.import_(5)  # type: ignore[arg-type]

    def broken() -> Iterator[tuple[bytes, bytes]]:
        yield b"key", b"value"
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        db.import_([(b"tree", b"name", broken())])


def test_streams(db: sled.Db) -> None:
    """An import streams: the first pairs are written before the last ones are read."""
    counts = []

    def pairs() -> Iterator[tuple[bytes, bytes]]:
        for number in range(3000):
            counts.append(len(db) if number % 1000 == 999 else 0)
            yield number.to_bytes(4, "big"), b"value"

    db.import_([(b"tree", b"__sled__default", pairs())])
    assert max(counts) > 1000
    assert len(db) == 3000
