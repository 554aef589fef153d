"""How much a database holds, what share of its files that is, and the state of its sessions."""

from datetime import datetime, timedelta

import attrs

from sled_sessions.records import Record, codec
from sled_sessions.stores.sled import SledStore
from sled_sessions.stores.sweep import PROGRESS_STEP, Progress

COMPACTED = 2.5
"""How many times its data a compacted database takes on disk. Measured with 2 to 60 MB of data: 2.2 to 2.9 with records
of 300 bytes to 10 KB, 4 with 100 bytes, 1.2 to 1.5 with 20 to 60 KB."""

SMALLEST = 1 << 20
"""Bytes of a database with little data: sled's smallest file is a segment of 512 KB."""


@attrs.frozen
class TreeStats:
    """One tree: its name, the number of its keys, and the bytes of its keys and values."""

    name: str
    keys: int
    size: int


@attrs.frozen
class Stats:
    """A database and the sessions in one of its trees.

    Attributes:
        trees: All trees.
        live_bytes: Bytes of all keys and values.
        bytes_on_disk: Bytes of the files. sled keeps deleted data until it needs the space.
        blob_bytes: The part of `bytes_on_disk` that is in blobs, the files in which sled keeps pages above 128 KB.
        unused_blob_bytes: The part of `blob_bytes` that no page refers to. Opening the database removes such blobs, so
            this is 0 just after; those that come later stay until the next opening.
        compacted_bytes: About the bytes that `compact` would leave; None if that is more than half of `bytes_on_disk`
            without `unused_blob_bytes`.
        sessions: Sessions that have not expired.
        expired: Sessions that have expired and that no sweep has deleted yet.
        unreadable: Records that cannot be decoded, as in `CheckReport.unreadable`.
        first_expiry: The earliest expiry, which may be past.
        last_expiry: The latest expiry.
        resolution: The step of the expiry index; None without one.
    """

    trees: tuple[TreeStats, ...]
    live_bytes: int
    bytes_on_disk: int
    blob_bytes: int
    unused_blob_bytes: int
    compacted_bytes: int | None
    sessions: int
    expired: int
    unreadable: int
    first_expiry: datetime | None
    last_expiry: datetime | None
    resolution: timedelta | None

    def _repr_html_(self) -> str:
        from sled_sessions.display import html, text
        from sled_sessions.stores import shown

        facts: dict[str, object] = {
            "live sessions": self.sessions,
            "expired, not yet swept": self.expired,
            "unreadable records": self.unreadable,
            "first expiry": None if self.first_expiry is None else text.moment(self.first_expiry),
            "last expiry": None if self.last_expiry is None else text.moment(self.last_expiry),
            "index": shown.steps(self.resolution),
            "data of all trees": text.size(self.live_bytes),
            "size on disk": text.size(self.bytes_on_disk),
            "in blobs": text.size(self.blob_bytes),
            "in unused blobs": text.size(self.unused_blob_bytes),
        }
        if self.compacted_bytes is not None:
            facts["after compact, about"] = text.size(self.compacted_bytes)
        trees = [(tree.name, tree.keys, text.size(tree.size)) for tree in self.trees]
        return html.card("Stats", facts, html.table(("tree", "keys", "size"), trees))


def stats(store: SledStore, *, progress: Progress | None = None) -> Stats:
    """Read everything once and count. O(n), in bounded memory."""
    db = store.tree.db
    now = codec.to_microseconds(store.clock())
    trees = []
    sessions = expired = unreadable = done = 0
    first: int | None = None
    last: int | None = None
    for _, name, pairs in db.export():
        keys = size = 0
        for key, value in pairs:
            keys += 1
            size += len(key) + len(value)
            if progress is not None and (done + keys) % PROGRESS_STEP == 0:
                progress(done + keys, None)
            if name != store.tree.name:
                continue
            record = Record.decode_if_readable(key, value)
            if record is None:
                unreadable += 1
                continue
            expiry = codec.to_microseconds(record.expiry_date)
            expired += expiry <= now
            sessions += expiry > now
            first = expiry if first is None else min(first, expiry)
            last = expiry if last is None else max(last, expiry)
        done += keys
        trees.append(TreeStats(name=name.decode(errors="replace"), keys=keys, size=size))
    if progress is not None:
        progress(done, done)
    blob_bytes, unused_blob_bytes = db.blob_sizes()
    live_bytes, bytes_on_disk = sum(tree.size for tree in trees), db.size_on_disk()
    compacted = round(COMPACTED * live_bytes) + SMALLEST
    return Stats(
        trees=tuple(trees),
        live_bytes=live_bytes,
        bytes_on_disk=bytes_on_disk,
        blob_bytes=blob_bytes,
        unused_blob_bytes=unused_blob_bytes,
        compacted_bytes=compacted if 2 * compacted <= bytes_on_disk - unused_blob_bytes else None,
        sessions=sessions,
        expired=expired,
        unreadable=unreadable,
        first_expiry=None if first is None else codec.from_microseconds(first),
        last_expiry=None if last is None else codec.from_microseconds(last),
        resolution=store.resolution,
    )
