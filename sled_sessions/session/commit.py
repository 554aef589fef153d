"""The commit: what a session's changes mean for its record in the store, decided here and nowhere else.

| the session, as its request leaves it | the store | outcome |
|---|---|---|
| never used, or used without a change | nothing | UNCHANGED |
| new, with data | `create` | SAVED |
| new, without data | nothing | GONE |
| changed, or `always_save` | `update`: the changed keys are merged onto the stored record | SAVED |
| lost its last key, or its policy ends it at once | `update` that deletes, unless others have added keys | GONE |
| `cycle_id()` | `create` under a new id; `mark_rotated`; `update` that ends the old record, and `delete` | SAVED |
| `flush()` | `delete`; what was set afterwards is a new session (`mark_rotated` first) | GONE, or the new one's |
| ended by another request meanwhile | nothing is written, and nothing comes back | SUPERSEDED |
| under a new id by another request, meanwhile or just before | the same | SUPERSEDED |
| the same, and `cycle_id()` | `create` with what this request set, and no other data | SAVED |

The mark comes before the old record goes, so that at no time a changed id looks like an unknown one. Of two requests
that change an id at the same moment, in one process or two, one moves the session; the other finds the mark.

A commit may suspend while it awaits a store, and the app may keep using the session: what it does then is left for the
next commit. On a blocking store it never suspends.
"""

import enum
import logging
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sled_sessions import events
from sled_sessions.errors import SessionError
from sled_sessions.records import Id, Record
from sled_sessions.records.reserved import RESERVED
from sled_sessions.session.changes import Changes, unpack
from sled_sessions.session.lifetime import NewPolicy
from sled_sessions.session.session import Session
from sled_sessions.stores import protocol
from sled_sessions.stores.protocol import DELETE, AsyncSessionStore, Changed

_log = logging.getLogger(__name__)
_EXPIRED = datetime(1970, 1, 1, tzinfo=UTC)


class Outcome(enum.Enum):
    """What a commit has done."""

    UNCHANGED = enum.auto()
    """Nothing was written."""
    SAVED = enum.auto()
    """The session was written, and `session.id` is its id."""
    GONE = enum.auto()
    """The session does not exist, or no longer."""
    SUPERSEDED = enum.auto()
    """Another request has ended the session or changed its id: what this one set was dropped."""


class _Start(NamedTuple):
    """The session's state when a commit began, and how long the mark of an id that it changes lasts."""

    changes: Changes
    flushes: int
    policy: NewPolicy | None
    is_cycling: bool
    grace: timedelta | None


async def commit(
    session: Session,
    store: AsyncSessionStore,
    *,
    always_save: bool = False,
    touch_after: timedelta | None = None,
    only_end: bool = False,
    was_rotated: bool = False,
    rotation_grace: timedelta | None = None,
) -> Outcome:
    """Write what was changed.

    Args:
        session: The session.
        store: The store that it was loaded from.
        always_save: Extend the expiry even if nothing was changed.
        touch_after: Skip that write if the expiry would move by less than this.
        only_end: Delete what was flushed, and drop every other change: the request has failed.
        was_rotated: The session is new only because the id that its visitor has was changed by another request.
        rotation_grace: How long an id that is changed here stays marked; None leaves no mark, and asks for none.

    Raises:
        EncodeError: JSON cannot hold the data. Nothing was written.
        BackendError: The store failed. The changes are kept for another commit.
    """
    outcome = Outcome.UNCHANGED
    if session._flushed:
        begins_anew = dict.__len__(session) > 0 and not only_end
        outcome = await _delete_flushed(session, store, rotation_grace if begins_anew else None)
    if only_end:
        session._discard_changes()
        return outcome
    if not (session.is_loaded or always_save):
        return outcome
    if not session.is_loaded:
        session.load()
    stored, changes = session._stored, session.changes()
    start = _Start(changes, session._flushes, session._new_policy, session._is_cycling, rotation_grace)
    if stored is None and was_rotated and not start.flushes:
        outcome = await _begin(session, store, start) if start.is_cycling else _drop(session, start)
    elif stored is None:
        outcome = await _create(session, store, start)
    elif start.is_cycling:
        outcome = await _cycle(session, store, stored, start)
    elif (
        changes.changed
        or changes.removed
        or start.policy is not None
        or (always_save and _is_touched(session, stored, touch_after))
    ):
        outcome = await _update(session, store, stored, start)
    if session._flushed:  # while the store was awaited; what was set since then is for the next commit
        outcome = await _delete_flushed(session, store, None)
    return outcome


async def _delete_flushed(session: Session, store: AsyncSessionStore, grace: timedelta | None) -> Outcome:
    while session._flushed:
        id = next(iter(session._flushed))
        if grace is not None:  # its visitor gets another id
            await protocol.mark_rotated(store, id, session._clock() + grace)
        if await store.delete(id):
            events.deleted(id)
        session._flushed.pop(id, None)  # a concurrent commit may have removed it already
    return Outcome.GONE


async def _create(session: Session, store: AsyncSessionStore, start: _Start) -> Outcome:
    new = _merge(session, start.changes, Record(Id.new(), {}, session._clock()))
    if new is DELETE:
        return _note_gone(session, start)
    record = await store.create(new)
    events.created(record.id)
    return _note_saved(session, record, start)


async def _begin(session: Session, store: AsyncSessionStore, start: _Start) -> Outcome:
    """Begin another session with what this request set, and nothing of the one that it loaded before its id changed."""
    for key, value in () if session._stored is None else session._stored.data.items():
        if key not in start.changes.changed and dict.get(session, key) is value:
            session._before.pop(key, None)
            dict.pop(session, key)
    session._stored = None
    outcome = await _create(session, store, start)
    return outcome if outcome is Outcome.SAVED else Outcome.SUPERSEDED


async def _update(session: Session, store: AsyncSessionStore, stored: Record, start: _Start) -> Outcome:
    deletes = False

    def change(record: Record) -> Changed:
        nonlocal deletes
        changed = _merge(session, start.changes, record)
        deletes = changed is DELETE
        return changed

    # What may end the session does so only after a fresh read, so that others' end of it is not taken for this one.
    seen = stored if dict.__len__(session) and session._new_policy is None else None
    record = await store.update(stored.id, change, seen=seen)
    if record is not None:
        return _note_saved(session, record, start)
    if not deletes or (start.grace is not None and await protocol.was_rotated(store, stored.id)):
        return _drop(session, start)
    events.deleted(stored.id)
    return _note_gone(session, start)


async def _cycle(session: Session, store: AsyncSessionStore, stored: Record, start: _Start) -> Outcome:
    """Continue under a new id.

    The new record is written first, and the old one ends in the step that reads it for the last time. So a failure
    loses nothing: it leaves the old session, or a new record whose id is not known to anybody. The old record is read
    afresh rather than taken from `seen`, so that a session that others have ended is not taken for one that ended here.

    With marks, the old record ends as one that expired long ago, since `update` returns what it wrote but, after
    `DELETE`, not whether another writer came first: so of two requests that change the id one moves the session.
    """
    grace = start.grace
    if grace is not None and await store.load(stored.id) is None:  # or the mark below would pass for another request's
        return await _follow(session, store, stored, start)
    new: Record | None = None
    deletes = False
    copied = latest = stored
    merged = _merge(session, start.changes, stored)

    def end(record: Record) -> Changed:
        nonlocal deletes, latest, merged
        latest, merged = record, _merge(session, start.changes, record)
        deletes = new is not None or merged is DELETE
        if not deletes:  # others have filled an emptied session: it needs a new record first
            return record
        return DELETE if merged is DELETE or grace is None else Record(record.id, {}, _EXPIRED, is_checked=True)

    ended: Record | None = stored
    while ended is not None and not deletes:
        if merged is not DELETE:
            copied = latest
            new = await store.create(Record(Id.new(), merged.data, merged.expiry_date, is_checked=True))
            if grace is not None:
                await protocol.mark_rotated(store, stored.id, session._clock() + grace)
        ended = await store.update(stored.id, end)
    if ended is None and merged is not DELETE and grace is not None:
        deletes = False
    if new is None or merged is DELETE or not deletes:  # emptied, or ended by others
        if deletes:
            _note_gone(session, start)
            events.deleted(stored.id)
        if new is not None:
            await _remove_unused(store, new)  # no visitor was given its id
        return Outcome.GONE if deletes else await _follow(session, store, stored, start)
    session._continue_as(new, start.flushes)  # before the save: if that fails, the next commit starts from here
    if ended is not None:
        await _remove_unused(store, ended)
    if not _is_same_state(latest, copied):
        new = Record(new.id, merged.data, merged.expiry_date, is_checked=True)
        await store.save(new)
    outcome = _note_saved(session, new, start)
    events.rotated(stored.id, new.id)
    return outcome


def _is_touched(session: Session, stored: Record, touch_after: timedelta | None) -> bool:
    """Whether a save that only moves the expiry is due. A session that may expire before that is always saved."""
    own = session._own
    if touch_after is None or (own is not None and own.deadline is None and own.lifetime <= touch_after):
        return True
    return abs(session.expiry_date - stored.expiry_date) >= touch_after


async def _remove_unused(store: AsyncSessionStore, record: Record) -> None:
    try:
        await store.delete(record.id)
    except SessionError as error:  # the commit itself is done
        _log.warning("an unused record could not be deleted and waits for a sweep: %s", error)


async def _follow(session: Session, store: AsyncSessionStore, stored: Record, start: _Start) -> Outcome:
    """Change the id of a session that others have ended or moved: if they moved it, this is another login."""
    if start.grace is not None and await protocol.was_rotated(store, stored.id):
        return await _begin(session, store, start)
    return _drop(session, start)


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


def _note_saved(session: Session, record: Record, start: _Start) -> Outcome:
    """Note in the session what was stored; what the app has done meanwhile is left for the next commit."""
    if session._continue_as(record, start.flushes):
        if start.is_cycling:
            session._is_cycling = False
        if session._new_policy is start.policy:
            session._new_policy = None
        session.settle(start.changes)
    return Outcome.SAVED


def _drop(session: Session, start: _Start) -> Outcome:
    """Drop what was set in a session that others have ended or moved."""
    if start.changes.changed:
        _log.warning("what a request set was dropped: another one had ended its session or changed its id")
    _note_gone(session, start)
    return Outcome.SUPERSEDED


def _note_gone(session: Session, start: _Start) -> Outcome:
    """Note in the session that it does not exist; one that was begun meanwhile stays."""
    if session._flushes == start.flushes:
        session._forget()
    return Outcome.GONE
