"""The commit: what a session's changes mean for its record in the store, decided here and nowhere else.

| the session, as its request leaves it | the store | outcome |
|---|---|---|
| never used, or used without a change | nothing | UNCHANGED |
| new, with data | `create` | SAVED |
| new, without data | nothing | GONE |
| changed, or `always_save` | `update`: the changed keys are merged onto the stored record | SAVED |
| lost its last key, or its policy ends it at once | `update` that deletes, unless others have added keys | GONE |
| `cycle_id()` | `create` under a new id; `update` of the old record that deletes it | SAVED |
| `flush()` | `delete`; what was set afterwards is a new session | GONE, or that of the new session |
| ended by another request meanwhile | nothing is written, and nothing comes back | GONE |

A commit may suspend while it awaits a store, and the app may keep using the session: what it does then is left for the
next commit. On a blocking store it never suspends.
"""

import enum
import logging
from datetime import timedelta
from typing import NamedTuple

from sled_sessions import events
from sled_sessions.errors import SessionError
from sled_sessions.records import Id, Record
from sled_sessions.records.reserved import RESERVED
from sled_sessions.session.changes import Changes, unpack
from sled_sessions.session.lifetime import NewPolicy
from sled_sessions.session.session import Session
from sled_sessions.stores.protocol import DELETE, AsyncSessionStore, Changed

_log = logging.getLogger(__name__)


class Outcome(enum.Enum):
    """What a commit has done."""

    UNCHANGED = enum.auto()
    """Nothing was written."""
    SAVED = enum.auto()
    """The session was written, and `session.id` is its id."""
    GONE = enum.auto()
    """The session does not exist, or no longer."""


class _Start(NamedTuple):
    """The session's state, besides its data, when a commit began."""

    flushes: int
    policy: NewPolicy | None
    is_cycling: bool


async def commit(
    session: Session,
    store: AsyncSessionStore,
    *,
    always_save: bool = False,
    touch_after: timedelta | None = None,
    only_end: bool = False,
) -> Outcome:
    """Write what was changed.

    Args:
        session: The session.
        store: The store that it was loaded from.
        always_save: Extend the expiry even if nothing was changed.
        touch_after: Skip that write if the expiry would move by less than this.
        only_end: Delete what was flushed, and drop every other change: the request has failed.

    Raises:
        EncodeError: JSON cannot hold the data. Nothing was written.
        BackendError: The store failed. The changes are kept for another commit.
    """
    outcome = await _delete_flushed(session, store) if session._flushed else Outcome.UNCHANGED
    if only_end:
        session._discard_changes()
        return outcome
    if not (session.is_loaded or always_save):
        return outcome
    if not session.is_loaded:
        session.load()
    stored, changes = session._stored, session.changes()
    start = _Start(session._flushes, session._new_policy, session._is_cycling)
    if stored is None:
        outcome = await _create(session, store, changes, start)
    elif start.is_cycling:
        outcome = await _cycle(session, store, stored, changes, start)
    elif (
        changes.changed
        or changes.removed
        or start.policy is not None
        or (always_save and _is_touched(session, stored, touch_after))
    ):
        outcome = await _update(session, store, stored, changes, start)
    if session._flushed:  # while the store was awaited; what was set since then is for the next commit
        outcome = await _delete_flushed(session, store)
    return outcome


async def _delete_flushed(session: Session, store: AsyncSessionStore) -> Outcome:
    while session._flushed:
        id = next(iter(session._flushed))
        if await store.delete(id):
            events.deleted(id)
        session._flushed.pop(id, None)  # a concurrent commit may have removed it already
    return Outcome.GONE


async def _create(session: Session, store: AsyncSessionStore, changes: Changes, start: _Start) -> Outcome:
    new = _merge(session, changes, Record(Id.new(), {}, session._clock()))
    if new is DELETE:
        return _note_gone(session, start)
    record = await store.create(new)
    events.created(record.id)
    return _note_saved(session, record, changes, start)


async def _update(
    session: Session, store: AsyncSessionStore, stored: Record, changes: Changes, start: _Start
) -> Outcome:
    deletes = False

    def change(record: Record) -> Changed:
        nonlocal deletes
        changed = _merge(session, changes, record)
        deletes = changed is DELETE
        return changed

    # An emptied session is deleted only after a fresh read, so that one that others have ended is not reported again.
    seen = stored if dict.__len__(session) else None
    record = await store.update(stored.id, change, seen=seen)
    if record is not None:
        return _note_saved(session, record, changes, start)
    if deletes:
        events.deleted(stored.id)
    return _note_gone(session, start)


async def _cycle(
    session: Session, store: AsyncSessionStore, stored: Record, changes: Changes, start: _Start
) -> Outcome:
    """Continue under a new id.

    The new record is written first, and the old one is deleted in the step that reads it for the last time. So a
    failure loses nothing: it leaves the old session, or a new record whose id is not known to anybody. The old record
    is read afresh rather than taken from `seen`, so that a session that others have ended is not taken for one that
    ended here.
    """
    new: Record | None = None
    deletes = False
    copied = latest = stored
    merged = _merge(session, changes, stored)

    def end(record: Record) -> Changed:
        nonlocal deletes, latest, merged
        latest, merged = record, _merge(session, changes, record)
        deletes = new is not None or merged is DELETE
        return DELETE if deletes else record  # others have filled an emptied session: it needs a new record first

    is_waiting = True
    while is_waiting:
        if merged is not DELETE:
            copied = latest
            new = await store.create(Record(Id.new(), merged.data, merged.expiry_date, is_checked=True))
        is_waiting = await store.update(stored.id, end) is not None
    if new is None or merged is DELETE or not deletes:  # emptied, or ended by others
        outcome = _note_gone(session, start)
        if deletes:
            events.deleted(stored.id)
        if new is not None:
            try:
                await store.delete(new.id)  # no visitor was given this id
            except SessionError as error:  # the commit itself is done
                _log.warning("an unused record could not be deleted and waits for a sweep: %s", error)
        return outcome
    session._continue_as(new, start.flushes)  # before the save: if that fails, the next commit starts from here
    if not _is_same_state(latest, copied):
        new = Record(new.id, merged.data, merged.expiry_date, is_checked=True)
        await store.save(new)
    outcome = _note_saved(session, new, changes, start)
    events.rotated(stored.id, new.id)
    return outcome


def _is_touched(session: Session, stored: Record, touch_after: timedelta | None) -> bool:
    """Whether a save that only moves the expiry is due. A session that may expire before that is always saved."""
    own = session._own
    if touch_after is None or (own is not None and own.deadline is None and own.lifetime <= touch_after):
        return True
    return abs(session.expiry_date - stored.expiry_date) >= touch_after


def _merge(session: Session, changes: Changes, record: Record) -> Changed:
    """`record` with the session's changes; DELETE if no data is left, or the policy ends the session at once."""
    data = {**record.data, **changes.changed}
    if changes.kept and session._stored is not None and _is_same_state(record, session._stored):
        # The app was given this record's containers, and may have changed them back.
        data.update((key, unpack(image)) for key, image in changes.kept.items())
    for key in changes.removed:
        data.pop(key, None)
    expiry_date, reserved = session._lifetime(now := session._clock(), record)
    if expiry_date <= now or len(data) == (RESERVED in data):
        return DELETE
    if reserved is not None:
        data[RESERVED] = reserved
    elif RESERVED in data:
        del data[RESERVED]
    return Record(record.id, data, expiry_date, is_checked=True)


def _is_same_state(record: Record, other: Record) -> bool:
    """Whether both are the same state of a session, as far as their store can tell."""
    return record is other or (record.version is not None and record.version == other.version)


def _note_saved(session: Session, record: Record, changes: Changes, start: _Start) -> Outcome:
    """Note in the session what was stored; what the app has done meanwhile is left for the next commit."""
    if session._continue_as(record, start.flushes):
        if start.is_cycling:
            session._is_cycling = False
        if session._new_policy is start.policy:
            session._new_policy = None
        session.settle(changes)
    return Outcome.SAVED


def _note_gone(session: Session, start: _Start) -> Outcome:
    """Note in the session that it does not exist; one that was begun meanwhile stays."""
    if session._flushes == start.flushes:
        session._forget()
    return Outcome.GONE
