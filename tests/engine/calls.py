"""Every call on a database, and opening it from another process."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeAlias

from engine.processes import python

from sled_sessions import sled

OPEN = "import sys; from sled_sessions import sled; db = sled.open(sys.argv[1]); print(len(db)); db.close()"

Pairs: TypeAlias = Iterator[tuple[bytes, bytes]]

CALLS: dict[str, Callable[[sled.Db, sled.Tree, Pairs], object]] = {
    "get": lambda db, tree, pairs: tree.get(b"a"),
    "in": lambda db, tree, pairs: b"a" in tree,
    "insert": lambda db, tree, pairs: tree.insert(b"a", b"b"),
    "remove": lambda db, tree, pairs: tree.remove(b"a"),
    "compare_and_swap": lambda db, tree, pairs: tree.compare_and_swap(b"a", None, None),
    "update_and_fetch": lambda db, tree, pairs: tree.update_and_fetch(b"a", lambda _: None),
    "fetch_and_update": lambda db, tree, pairs: tree.fetch_and_update(b"a", lambda _: None),
    "apply_batch": lambda db, tree, pairs: tree.apply_batch(sled.Batch()),
    "first": lambda db, tree, pairs: tree.first(),
    "last": lambda db, tree, pairs: tree.last(),
    "get_lt": lambda db, tree, pairs: tree.get_lt(b"a"),
    "get_gt": lambda db, tree, pairs: tree.get_gt(b"a"),
    "pop_min": lambda db, tree, pairs: tree.pop_min(),
    "pop_max": lambda db, tree, pairs: tree.pop_max(),
    "new iterator": lambda db, tree, pairs: next(iter(tree)),
    "old iterator": lambda db, tree, pairs: next(pairs),
    "len": lambda db, tree, pairs: len(tree),
    "is_empty": lambda db, tree, pairs: tree.is_empty(),
    "clear": lambda db, tree, pairs: tree.clear(),
    "tree checksum": lambda db, tree, pairs: tree.checksum(),
    "flush": lambda db, tree, pairs: tree.flush(),
    "fsync": lambda db, tree, pairs: db.flush(fsync=True),
    "watch": lambda db, tree, pairs: tree.watch(),
    "open_tree": lambda db, tree, pairs: db.open_tree("tree"),
    "tree_names": lambda db, tree, pairs: db.tree_names(),
    "drop_tree": lambda db, tree, pairs: db.drop_tree("tree"),
    "size_on_disk": lambda db, tree, pairs: db.size_on_disk(),
    "blob_sizes": lambda db, tree, pairs: db.blob_sizes(),
    "generate_id": lambda db, tree, pairs: db.generate_id(),
    "checksum": lambda db, tree, pairs: db.checksum(),
    "export": lambda db, tree, pairs: db.export(),
    "import_": lambda db, tree, pairs: db.import_([(b"tree", b"t", [])]),
    "transaction": lambda db, tree, pairs: sled.transaction(lambda _: None, tree),
    "with": lambda db, tree, pairs: db.__enter__(),
}


def calls(db: sled.Db) -> dict[str, Callable[[], object]]:
    """The calls by name, bound to this database and a tree and an iterator of it."""
    tree = db.open_tree("tree")
    tree.insert(b"a", b"b")
    tree.insert(b"b", b"c")
    pairs = iter(tree)
    next(pairs)
    return {name: partial(call, db, tree, pairs) for name, call in CALLS.items()}


def elsewhere(folder: Path) -> str:
    """Open the folder in another process; return how many pairs it found."""
    done = python(OPEN, folder)
    assert done.stderr == ""
    return done.stdout.strip()
