"""Copying what can still be read out of a damaged database."""

import os
from collections.abc import Callable
from os import PathLike
from pathlib import Path

import attrs

from sled_sessions import sled
from sled_sessions.errors import DecodeError
from sled_sessions.operate.contents import Contents, contents_of
from sled_sessions.operate.errors import OperationError
from sled_sessions.operate.folders import Format, appearing, copied, format_of
from sled_sessions.records import Record
from sled_sessions.records.record import KEY_LENGTH
from sled_sessions.sled.salvage import Pages
from sled_sessions.stores.sled.index import ENTRIES, ENTRY_LENGTH, META, drop_index
from sled_sessions.stores.sled.rotated import ROTATED, is_mark
from sled_sessions.stores.sweep import Progress


@attrs.frozen
class SalvageReport:
    """What `salvage` found.

    Attributes:
        contents: What the new database contains.
        lost: Places in the old file, and pages of the old trees, that could not be read. A page holds some tens of
            sessions, and a place may hold only what a later write replaced, so this does not show how many sessions
            are missing. If it is 0, all were read, except that the end of a log may be missing after a crash.
        recovered: Sessions, among the contents, from pages that no tree leads to.
        dropped: Other pairs from such pages, whose tree is unknown.
    """

    contents: Contents
    lost: int
    recovered: int
    dropped: int

    @property
    def is_incomplete(self) -> bool:
        """Whether data could not be read, or its tree is unknown."""
        return bool(self.lost or self.dropped)


def salvage(
    old: str | PathLike[str],
    new: str | PathLike[str],
    *,
    tree: str = "session",
    progress: Progress | None = None,
) -> SalvageReport:
    """Copy what can still be read of a damaged database into a new folder, and count what cannot. O(n log n).

    The old log is read without sled, which would cut it at the first damage. `old` is not changed: its files are
    copied under its lock. Expiry indexes are left out, since the next store builds them, and so are marks of changed
    ids, which matter for a minute.

    If the record of a session's deletion is damaged, the session comes back.

    Args:
        old: The database, of sled 0.34, which no process may have open.
        new: The folder to create.
        tree: The tree for sessions that are found outside any tree.
        progress: Called with the number of keys copied.

    Raises:
        OperationError: Also if `old` has the format of sled 1.0, or nothing in it can be read.
    """
    if format_of(old) is not Format.V0_34:
        raise OperationError(f"{old} has the format of sled 1.0, and only databases of 0.34 can be salvaged")
    if not (Path(old) / "db").exists():
        raise OperationError(f"{old} has lost its file db, which held all data: restore a backup")
    written = recovered = dropped = 0
    with appearing(new, source=old) as folder, copied(old, near=folder) as readable, sled.open(folder) as db:
        pages = Pages(readable)
        for name, pairs in pages:
            if name is not None:
                target = db.open_tree(name)
                for key, value in pairs:
                    target.insert(key, value)
                written += len(pairs)
            else:
                target = db.open_tree(os.fsencode(tree))
                for key, value in pairs:
                    try:
                        Record.decode_stored(key, value)
                    except DecodeError:
                        dropped += not (_is_entry(key, value) or is_mark(key, value))  # both are derived
                        continue
                    recovered += target.compare_and_swap(key, None, value)
            if progress is not None:
                progress(written + recovered, None)
        for name in db.tree_names():
            if name.endswith(META):  # entries may be missing; the next store builds the index
                drop_index(db, name.removesuffix(META))
        _drop_derived(db, ROTATED, is_mark, KEY_LENGTH)
        if pages.lost:
            _drop_derived(db, ENTRIES, _is_entry, ENTRY_LENGTH)  # their marker may be what was lost
        contents = contents_of(db.export())
        if not contents.pairs:
            raise OperationError(f"nothing in {old} can be read: restore a backup")
        return SalvageReport(contents=contents, lost=pages.lost, recovered=recovered, dropped=dropped)


def _drop_derived(db: sled.Db, suffix: bytes, is_derived: Callable[[bytes, bytes], bool], length: int) -> None:
    """Drop the trees with names of this suffix that hold nothing but such pairs, whose keys have this length.

    Where a page was lost, the keys of its newer pairs lack their beginning.
    """
    names = set(db.tree_names())
    for name in names:
        records = name.removesuffix(suffix)
        if records == name or records not in names:
            continue
        if all(is_derived(key.rjust(length), value) for key, value in db.open_tree(name)):
            db.drop_tree(name)


def _is_entry(key: bytes, value: bytes) -> bool:
    return len(key) == ENTRY_LENGTH and not value
