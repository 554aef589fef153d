"""What a store on sled looks like in a notebook."""

from collections.abc import Iterator
from datetime import datetime
from itertools import islice

from sled_sessions import sled
from sled_sessions.display import html, text
from sled_sessions.errors import SessionError
from sled_sessions.records import Record
from sled_sessions.stores import shown
from sled_sessions.stores.sled.indexed_tree import IndexedTree


def card(sessions: IndexedTree, now: datetime) -> str:
    """The store's facts and its first records, as HTML; a bounded number of records is read."""
    tree, index = sessions.tree, sessions.index
    facts: dict[str, object] = {
        "tree": tree.name.decode(errors="backslashreplace"),
        "folder": tree.db.path,
        "index": shown.steps(None if index is None else index.resolution),
    }
    try:
        facts["sessions"] = text.counted(tree.keys())
        stored = [Record.decode_if_readable(key, value) for key, value in islice(tree, text.COUNT_UP_TO)]
        if unreadable := stored.count(None):
            facts["cannot be read"] = f"{unreadable:,} of the first {len(stored):,}"
        facts["size on disk"] = text.size(tree.db.size_on_disk())
        if index is None:
            order, first = "as they are stored", list(islice(filter(None, stored), text.PAGE))
        else:
            order, first = "next to expire", list(islice(_by_expiry(sessions), text.PAGE))
    except (sled.SledError, SessionError) as error:
        return html.card("SledStore", {**facts, "state": error})
    # Records that cannot be decoded are counted above; if there are no others, a table would say "no sessions".
    table = html.Markup() if stored and not first else shown.first(first, now, order)
    return html.card("SledStore", facts, table)


def _by_expiry(sessions: IndexedTree) -> Iterator[Record]:
    """The records of the index's first entries, in its order."""
    for _, key in islice(sessions.expiries(), text.COUNT_UP_TO):
        value = sessions.tree.get(key)
        if value is not None and (record := Record.decode_if_readable(key, value)) is not None:
            yield record
