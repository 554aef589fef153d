"""Finding sessions, and checking a database, without changing anything."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import attrs

from sled_sessions.errors import DecodeError
from sled_sessions.operate.contents import Contents, contents_of
from sled_sessions.operate.errors import OperationError
from sled_sessions.records import Id, Record
from sled_sessions.records.record import KEY_LENGTH, TEXT_LENGTH
from sled_sessions.stores.sled import SledStore
from sled_sessions.stores.sled.indexed_tree import IndexReport
from sled_sessions.stores.sweep import Progress

_SHORTEST = 4
"""Characters that the prefix of an id must have."""

_is_prefix = re.compile(rf"[A-Za-z0-9_-]{{{_SHORTEST},}}").fullmatch


@attrs.frozen
class CheckReport:
    """What `check_everything` found; truthy if every record can be decoded and has its entry in the index.

    Attributes:
        contents: What the database contains; damage would have raised an error.
        sessions: Records that a store can load, expired or not.
        unreadable: Records that cannot be decoded.
        index: How the expiry index compares with the sessions. Entries left over, as a crash leaves them, are harmless.
        resolution: The step of the expiry index; None without one.
    """

    contents: Contents
    sessions: int
    unreadable: int
    index: IndexReport
    resolution: timedelta | None

    def __bool__(self) -> bool:
        return bool(self.index) and not self.unreadable

    def _repr_html_(self) -> str:
        from sled_sessions.display import html
        from sled_sessions.stores import shown

        facts: dict[str, object] = {
            "nothing is wrong": bool(self),
            "trees": self.contents.trees,
            "keys": self.contents.pairs,
            "checksum": self.contents.checksum,
            "sessions": self.sessions,
            "unreadable records": self.unreadable,
            "index": shown.steps(self.resolution),
            "missing from the index": self.index.missing,
            "entries without a session": self.index.stale,
        }
        return html.card("CheckReport", facts)


def check_everything(store: SledStore, *, progress: Progress | None = None) -> CheckReport:
    """Read every tree of the store's database, and compare the store's index with its records. O(n), bounded memory.

    Raises:
        sled.Corruption: A part of the file is damaged; `salvage` copies the rest.
    """
    contents = contents_of(store.tree.db.export(), progress)
    is_readable = Counter(record is not None for _, record in all_records(store))
    return CheckReport(
        contents=contents,
        sessions=is_readable[True],
        unreadable=is_readable[False],
        index=store.verify_index(),
        resolution=store.resolution,
    )


def all_records(store: SledStore) -> Iterator[tuple[bytes, Record | None]]:
    """Each key with its record, live or expired, in the order of the keys; None for one that cannot be decoded."""
    return ((key, Record.decode_if_readable(key, value)) for key, value in store.tree)


def find_id(store: SledStore, text: str) -> Id | None:
    """The id of a stored record, live or not, from its text or a prefix that no other id has; None if there is none.

    O(log n) for a whole id, O(n) for a prefix, which must have four characters.

    Raises:
        OperationError: Several ids have this prefix.
        DecodeError: It is neither an id nor a prefix of one.
    """
    text = text.rstrip("…")
    if len(text) >= TEXT_LENGTH:
        id = Id.parse(text)
        return id if id.key in store.tree else None
    if not _is_prefix(text):
        raise DecodeError(f"{text!r} is not the beginning of an id: give at least its first {_SHORTEST} characters")
    ids = (Id(key) for key in store.tree.keys() if len(key) == KEY_LENGTH)  # noqa: SIM118 - of a tree, not a dict
    found = [id for id in ids if str(id).startswith(text)]
    if len(found) > 1:
        raise OperationError(f"{len(found)} sessions have ids that begin like this; give more characters")
    return found[0] if found else None


def find_session(store: SledStore, text: str) -> Record | None:
    """The session that `find_id` finds; DecodeError also if its record cannot be decoded."""
    id = find_id(store, text)
    value = None if id is None else store.tree.get(id.key)
    return None if id is None or value is None else Record.decode_stored(id.key, value)


def matching(condition: str) -> Callable[[Record], bool]:
    """A function that tells whether a record's data has a value.

    Args:
        condition: `KEY=VALUE`. The key is a key of the data, or a path into it such as `user.id`. The value is read as
            JSON and as text: `n=7` finds both 7 and "7".

    Raises:
        ValueError: `condition` is not `KEY=VALUE`.
    """
    path, equals, text = condition.partition("=")
    if not equals:
        raise ValueError(f"{condition!r} is not KEY=VALUE")
    try:
        value: Any = json.loads(text)
    except ValueError:
        value = text

    def matches(record: Record) -> bool:
        found: Any = record.data
        for part in [path] if path in record.data else path.split("."):
            if not isinstance(found, dict) or part not in found:
                return False
            found = found[part]
        # In Python True == 1, but JSON tells them apart.
        return any(found == each and isinstance(found, bool) is isinstance(each, bool) for each in (value, text))

    return matches
