"""What stores and their records look like in a notebook."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice

from sled_sessions import sled
from sled_sessions.display import html, text
from sled_sessions.errors import SessionError
from sled_sessions.records import Record
from sled_sessions.stores.sled.indexed_tree import IndexedTree
from sled_sessions.stores.sled.opening import Folder

COLUMNS = ("id", "expires", "data")


def rows(records: Iterable[Record], now: datetime, *, reveal: bool = False) -> list[tuple[str, str, str]]:
    """Each record's id, expiry and data; ids are shortened and secrets masked unless `reveal`."""
    return [
        (
            str(record.id) if reveal else text.masked_id(record.id),
            text.moment(record.expiry_date, now),
            text.data_text(record.data, reveal=reveal),
        )
        for record in records
    ]


def first_records(records: Sequence[Record], now: datetime, order: str) -> html.Markup:
    """A table of the first records of a store; `order` says in what order they come."""
    if not records:
        return html.Markup("<p>no sessions</p>")
    return html.table(COLUMNS, rows(records, now), caption=f"The first {len(records)}, {order}")


def steps(resolution: timedelta | None) -> str:
    """The resolution of an expiry index in words; None: there is no index."""
    return "none" if resolution is None else f"in steps of {text.exactly(resolution)}"


def sled_store(sessions: IndexedTree, now: datetime) -> str:
    """The store's facts and its first records, as HTML; a bounded number of records is read."""
    tree, index = sessions.tree, sessions.index
    facts: dict[str, object] = {
        "tree": _text(tree.name),
        "folder": tree.db.path,
        "index": steps(None if index is None else index.resolution),
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
    table = html.Markup() if stored and not first else first_records(first, now, order)
    return html.card("SledStore", facts, table)


def unopened_store(folder: Folder, is_new: bool) -> str:
    """A store that is not open, as HTML."""
    state = "new: it opens on first use" if is_new else "closed: entering it, `with store:`, opens it again"
    return html.card("SledStore", {"tree": _text(folder.tree), "folder": folder.path, "state": state})


def _text(name: str | bytes) -> str:
    return name if isinstance(name, str) else name.decode(errors="backslashreplace")


def _by_expiry(sessions: IndexedTree) -> Iterator[Record]:
    """The records of the index's first entries, in its order."""
    for _, key in islice(sessions.expiries(), text.COUNT_UP_TO):
        value = sessions.tree.get(key)
        if value is not None and (record := Record.decode_if_readable(key, value)) is not None:
            yield record
