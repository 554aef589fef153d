"""Looking for sessions and for what is wrong, without changing anything."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import attrs

from sled_sessions.errors import DecodeError
from sled_sessions.operate.contents import Contents, contents_of
from sled_sessions.operate.errors import OperationError
from sled_sessions.records import Id, Record, codec
from sled_sessions.records.id import KEY_LENGTH, TEXT_LENGTH
from sled_sessions.stores.indexed_tree import IndexReport
from sled_sessions.stores.sled import SledStore
from sled_sessions.stores.sweep import Progress, Sweep, SweepReport, SweepStrategy

_SHORTEST = 4
"""Characters that a beginning of an id must have."""

_STEP = timedelta(microseconds=1)
"""From now to the first moment at which nothing is due yet."""


@attrs.frozen
class CheckReport:
    """What `check_everything` found; true when nothing is wrong.

    Attributes:
        contents: What could be read: everything, or there would have been an error.
        index: Whether the expiry index agrees with the sessions, and how many of those cannot be read.
    """

    contents: Contents
    index: IndexReport

    def __bool__(self) -> bool:
        return bool(self.index) and not self.index.undecodable


def check_everything(store: SledStore, *, progress: Progress | None = None) -> CheckReport:
    """Read every tree of the store's database, and compare the store's index with its records. O(n), bounded memory.

    Raises:
        sled.Corruption: A part of the file is damaged; `salvage` copies the rest.
    """
    contents = contents_of(store.tree.db.export(), progress)
    return CheckReport(contents=contents, index=store.verify_index())


def find_session(store: SledStore, text: str) -> Record | None:
    """The session of this id, expired or not; or the only one whose id begins so.

    O(log n) for a whole id, O(n) for a beginning of it, which must have four characters.

    Raises:
        OperationError: Several ids begin so, or it is too short.
        DecodeError: It is no id, or the record cannot be read.
        sled.SledError: The store could not be read.
    """
    text = text.rstrip("…")
    if len(text) >= TEXT_LENGTH:
        value = store.tree.get(Id.parse(text).key)
        return None if value is None else Record.decode(value)
    if len(text) < _SHORTEST:
        raise OperationError(f"give at least the first {_SHORTEST} characters of the id")
    keys = (key for key, _ in store.tree if len(key) == KEY_LENGTH)
    found = [key for key in keys if str(Id(key)).startswith(text)]
    if len(found) > 1:
        raise OperationError(f"{len(found)} sessions have ids that begin so; give more characters")
    value = store.tree.get(found[0]) if found else None
    return None if value is None else Record.decode(value)


def matching(condition: str) -> Callable[[Record], bool]:
    """Whether a record's data has a value.

    Args:
        condition: `KEY=VALUE`. The key is one of the data as it is written, or a path into it such as `user.id`. The
            value is meant as JSON or as text: `n=7` finds both 7 and "7".

    Raises:
        ValueError: It is no such condition.
    """
    path, equals, text = condition.partition("=")
    if not equals:
        msg = f"{condition!r} is not KEY=VALUE"
        raise ValueError(msg)
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
        return bool(found in (value, text))

    return matches


def count_expired(
    store: SledStore, strategy: SweepStrategy | None = None, *, progress: Progress | None = None
) -> SweepReport:
    """What `delete_expired` would do now, without doing it; `deleted` counts what it would delete.

    Raises:
        sled.SledError: The store could not be read.
    """
    now = store.clock()
    until = codec.to_microseconds(now)
    by_index = store.resolution is not None and strategy is not SweepStrategy.FULL_SCAN
    how = SweepStrategy.EXPIRY_INDEX if by_index else SweepStrategy.FULL_SCAN
    sweep = Sweep(how, limit=None, budget=None, progress=progress)
    due = (id.key for _, id in store.expiring(stop=now + _STEP)) if by_index else store.tree.keys()
    for key in due:
        sweep.examined += 1
        value = store.tree.get(key)
        try:
            sweep.deleted += value is not None and codec.decode_expiry(value) <= until
        except DecodeError:
            sweep.undecodable += 1
        sweep.step()  # which tells progress: there is no limit and no budget
    return sweep.report(complete=True)
