"""Databases and trees in a notebook. Keys and values may be secrets, so only the beginning of keys is shown."""

from itertools import islice

from sled_sessions.sled._native import Db, Tree
from sled_sessions.sled.errors import SledError

_BEGINNING = 3  # bytes of a key, as many as the repr of a session id shows


def html_of(tree: Tree) -> str:
    """A card with the first trees of a database, or the first keys of a tree. Large trees are counted only in part."""
    from sled_sessions.display import html, text

    facts: dict[str, object] = {"folder": tree.db.path}
    try:
        if isinstance(tree, Db):
            facts["size on disk"] = text.size(tree.size_on_disk())
            names = tree.tree_names()
            rows = [(_text(name), text.counted(tree.open_tree(name).keys())) for name in names[: text.PAGE]]
            more = len(names) - len(rows)
            note = f"and {more:,} more" if more else ""
            return html.card("Db", facts, html.table(("tree", "keys"), rows, note))
        facts["keys"] = text.counted(tree.keys())
        pairs = [(_start(key), len(key), len(value)) for key, value in islice(tree, text.PAGE)]
        columns = ("key begins", "bytes of key", "bytes of value")
        table = html.table(columns, pairs, caption=f"The first {len(pairs)}") if pairs else html.Markup()
        return html.card(f"Tree {_text(tree.name)}", facts, table)
    except SledError as error:
        return html.card(type(tree).__name__, {**facts, "state": error})


def _start(key: bytes) -> str:
    return repr(key[:_BEGINNING]) + ("…" if len(key) > _BEGINNING else "")


def _text(name: bytes) -> str:
    return name.decode(errors="backslashreplace")
