"""The session: data, expiry, and the one place that decides what a commit does to the store."""

import enum
import logging
from collections.abc import Callable, Generator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar

from sled_sessions import events
from sled_sessions.errors import EncodeError, SessionError
from sled_sessions.records import Expiry, Id, Record
from sled_sessions.records.codec import from_microseconds, to_microseconds
from sled_sessions.records.expiry import ENDED, SESSION_END, policy_of
from sled_sessions.session.tracking import Changes, TrackedDict
from sled_sessions.stores.clock import Clock, utc_now
from sled_sessions.stores.forks import ModuleLock
from sled_sessions.stores.protocol import BasedOn

_log = logging.getLogger(__name__)

T = TypeVar("T")
Call: TypeAlias = tuple[str, tuple[Any, ...]]
"""A call of a store: the method's name and its arguments."""

Steps: TypeAlias = Generator[Call, Any, T]
"""Calls, one after the other: yields one, is sent its result or thrown its error, returns what came of it all."""

DEADLINE: Final = "_ends_at_most"
"""The data key that holds the moment of `Expiry.at_most`, in microseconds since the Unix epoch; no app sees it."""

_MICROSECOND: Final = timedelta(microseconds=1)
_LAST: Final = to_microseconds(datetime.max.replace(tzinfo=UTC))


_Before: TypeAlias = tuple[int, Expiry, bool]
"""What a commit has begun with, beside the changes: how often it was flushed, its policy, whether its id changes."""


class Outcome(enum.Enum):
    """What a commit found to do."""

    UNCHANGED = enum.auto()
    """Nothing was written."""

    SAVED = enum.auto()
    """The session was written and `session.id` is its id."""

    GONE = enum.auto()
    """There is no such session, or no longer."""


class NotLoaded:
    """Lies in a session that nobody has used yet: what reads its memory directly fails, and sees no empty dict."""


class Session(TrackedDict):
    """One visitor's session: a dict of JSON values with an id and an expiry.

    It is loaded on first use. Nothing is written before the commit, which the middleware or a `SessionManager` makes;
    it applies the keys that were set and removed here to what is in the store by then, so that requests that run at
    the same time keep each other's keys. A session without data is not stored, and one that has lost its last key ends.

    It is a real dict, which `json.dumps` takes as it is. Code that reads a dict's memory without calling its methods
    (msgspec, orjson) meets a `NotLoaded` until the session was used for the first time: give it `dict(session)`.

    Args:
        load: Returns the record of the visitor's session, or None when there is none; called once, or by each of the
            threads that use the session first at the same time.
        expiry: The policy; None is `Expiry.on_session_end()`.
        clock: Returns the present moment as an aware datetime.
    """

    __slots__ = (
        "_clock",
        "_cycling",
        "_ending",
        "_expiry",
        "_expiry_is_new",
        "_flushes",
        "_load",
        "_stored",
        "is_loaded",
    )
    reserved = DEADLINE

    def __init__(
        self, load: Callable[[], Record | None], *, expiry: Expiry | None = None, clock: Clock = utc_now
    ) -> None:
        TrackedDict.__init__(self)
        self.is_loaded = False
        """Whether anything has used the session yet."""
        dict.__setitem__(self, "", _NOT_LOADED)
        self._load = load
        self._expiry = expiry or SESSION_END
        self._clock = clock
        self._stored: Record | None = None  # as it was last seen in the store; a new session has none
        self._ending: dict[Id, None] = {}  # were flushed, are to be deleted, in this order
        self._flushes = 0  # a commit that awaits a store sees by it what has happened meanwhile
        self._cycling = False
        self._expiry_is_new = False

    def load(self) -> None:
        """Load the session now, if nothing has used it yet.

        Raises:
            BackendError, DecodeError: As the store's `load`.
        """
        if not self.is_loaded:
            record = self._load()
            with _filling.lock:
                if not self.is_loaded:  # another thread may have been here, and used the session since
                    dict.clear(self)
                    if record is not None:
                        self._stored = record
                        dict.update(self, record.data)
                        dict.pop(self, DEADLINE, None)
                    self.is_loaded = True

    # Starlette calls this whenever an app asks for `request.session`, before it can look into the dict; its apps call
    # the other one after a nested change, which is noticed here without.
    mark_accessed = mark_modified = load

    @property
    def id(self) -> Id | None:
        """The id under which the session is stored; None for a new one until it is committed."""
        self.load()
        return None if self._stored is None else self._stored.id

    @property
    def expiry(self) -> Expiry:
        """The policy of this session. One that is set here goes for this commit; it is not stored with the session."""
        return self._expiry

    @expiry.setter
    def expiry(self, expiry: Expiry | None) -> None:
        self.load()
        self._expiry = policy_of(expiry)
        self._expiry_is_new = True

    @property
    def expiry_date(self) -> datetime:
        """When the session expires if it is committed now."""
        self.load()
        return self._expiry_date(self._clock(), self._stored)[0]

    @property
    def expiry_age(self) -> timedelta:
        """How long the session lives if it is committed now; zero rather than negative."""
        self.load()
        now = self._clock()
        return max(self._expiry_date(now, self._stored)[0] - now, timedelta(0))

    @property
    def max_age(self) -> timedelta | None:
        """How long a cookie for the session as it was committed is good; None: as long as the browser runs."""
        if self._stored is None or self._expiry.ends_with_browser:
            return None
        return self._stored.expiry_date - self._clock()

    @property
    def is_empty(self) -> bool:
        """Whether there is no data."""
        return not self

    # Starlette's and Quart's names. They let them be set, Quart on its own for each request; here that is known anyway.

    @property
    def new(self) -> bool:
        """Whether the session is not stored yet. Setting it changes nothing."""
        return self.id is None

    @new.setter
    def new(self, value: bool) -> None:
        pass

    @property
    def permanent(self) -> bool:
        """Whether the cookie outlives the browser, as the policy has it. Setting it changes nothing."""
        return not self._expiry.ends_with_browser

    @permanent.setter
    def permanent(self, value: bool) -> None:
        pass

    @property
    def accessed(self) -> bool:
        """Whether anything has used the session yet: `is_loaded`. Setting it changes nothing."""
        return self.is_loaded

    @accessed.setter
    def accessed(self, value: bool) -> None:
        pass

    @property
    def modified(self) -> bool:
        """Whether a commit would write more than a new expiry date: `is_modified`. Setting it changes nothing."""
        return self.is_modified

    @modified.setter
    def modified(self, value: bool) -> None:
        pass

    @property
    def is_modified(self) -> bool:
        """Whether a commit would write something else than a new expiry date. Costs an encoding of what was used."""
        return self._has_pending or self.changes().is_any

    @property
    def is_untouched(self) -> bool:
        """Whether nothing was asked of the session, since it was opened or committed, that could have changed it."""
        return not (self._before or self._has_pending)

    @property
    def needs_new_id(self) -> bool:
        """Whether the commit will store the session under an id that its visitor does not know yet."""
        return self.is_loaded and (dict.__len__(self) > 0 if self._stored is None else self._cycling)

    def flush(self) -> None:
        """End the session, for log-outs: its data goes now, its record with the commit, whatever the response is.

        What is set afterwards begins another session with another id.
        """
        if (id := self.id) is not None:
            self._ending[id] = None
        self._flushes += 1
        self._forget()

    def cycle_id(self) -> None:
        """Keep the data and change the id with the commit: for logins, so that a planted id is worth nothing."""
        self.load()
        self._cycling = True

    def __repr__(self) -> str:
        # The values may be secrets, and a repr must not be what loads the session.
        state = f"{self.id!r}, keys={list(dict.keys(self))}" if self.is_loaded else "not loaded"
        return f"Session({state})"

    def _repr_html_(self) -> str:
        from sled_sessions.display import html, text

        if not self.is_loaded:
            return html.card("Session", {"state": "not loaded yet"})
        id = self.id
        if not self and (self._ending or (id is not None and self.is_modified)):  # flushed, or without its last key
            id = id or next(reversed(self._ending))
            return html.card("Session", {"id": text.masked_id(id), "state": "ends with the commit"})
        try:
            state = "new" if id is None else "changed" if self.is_modified else "as stored"
        except EncodeError as error:
            state = f"changed, and no store can hold it: {error}"
        facts = {
            "id": "none yet" if id is None else text.masked_id(id),
            "state": state,
            "expires, if committed now": text.moment(self.expiry_date),
        }
        return html.card("Session", facts, html.data(dict(self)))

    @property
    def _has_pending(self) -> bool:
        return self._cycling or self._expiry_is_new or bool(self._ending)

    def commit(
        self, *, always_save: bool = False, touch_after: timedelta | None = None, only_end: bool = False
    ) -> Steps[Outcome]:
        """Say what the store must do; `drive` and `drive_async` do it.

        Args:
            always_save: Move the expiry date even if nothing was changed.
            touch_after: Spare that write when the expiry date would move by less.
            only_end: Delete what was flushed, and drop every other change: the request has failed.

        Raises:
            EncodeError: JSON cannot hold the data. Nothing was written.
        """
        outcome = Outcome.UNCHANGED
        if self._ending:
            outcome = yield from self._end()
        if only_end:
            self._drop()
            return outcome
        if not (self.is_loaded or always_save):
            return outcome
        self.load()
        stored, changes, before = self._stored, self.changes(), (self._flushes, self._expiry, self._cycling)
        if stored is None:
            outcome = yield from self._create(changes, before)
        elif self._cycling:
            outcome = yield from self._cycle(stored, changes, before)
        elif changes.is_any or self._expiry_is_new or (always_save and self._is_worth_touching(touch_after)):
            outcome = yield from self._update(stored, changes, before)
        if self._ending:  # it was flushed while a store was awaited; what was set since is for the next commit
            outcome = yield from self._end()
        return outcome

    def _end(self) -> Steps[Outcome]:
        while self._ending:
            id = next(iter(self._ending))
            if (yield "delete", (id,)):
                events.deleted(id)
            self._ending.pop(id, None)  # another commit may be at it
        return Outcome.GONE

    def _create(self, changes: Changes, before: _Before) -> Steps[Outcome]:
        record = self._changed(changes, Record(Id.new(), {}, ENDED))
        if record.expiry_date is ENDED:
            self._gone(before)
            return Outcome.GONE
        record = yield "create", (record,)
        events.created(record.id)
        self._saved(record, changes, before)
        return Outcome.SAVED

    def _update(self, stored: Record, changes: Changes, before: _Before) -> Steps[Outcome]:
        id = stored.id
        latest = yield "update", (id, BasedOn(stored, partial(self._changed, changes)))
        if latest is None:
            self._gone(before)
            return Outcome.GONE
        if latest.expiry_date == ENDED:
            self._gone(before)
            events.deleted(id)
            yield from _clear_away(id)
            return Outcome.GONE
        self._saved(latest, changes, before)
        return Outcome.SAVED

    def _cycle(self, stored: Record, changes: Changes, before: _Before) -> Steps[Outcome]:
        """Go on under a new id. Whatever fails on the way leaves the old session, or a new one that nobody knows."""
        id, seen, new = stored.id, stored, None
        latest = self._changed(changes, stored)

        def end(record: Record) -> Record:
            nonlocal latest, seen
            latest, seen = self._changed(changes, record), record
            if new is None and latest.expiry_date is not ENDED:  # what others have added needs a new record first
                return record
            return _checked(Record(id, latest.data, ENDED))  # in the step that reads its last state

        while True:
            copied = seen
            if latest.expiry_date is not ENDED:
                new = yield "create", (_checked(Record(Id.new(), latest.data, latest.expiry_date)),)
            found = yield "update", (id, BasedOn(stored, end))
            if found is None or latest.expiry_date is ENDED:  # this request or others have ended or emptied it
                self._gone(before)
                if found is not None:
                    events.deleted(id)
                for ended in (id,) if new is None else (new.id, id):
                    yield from _clear_away(ended)
                return Outcome.GONE
            if new is not None:
                break
        self._is_now(new, before)
        if seen is not copied:  # others have written meanwhile
            new = _checked(Record(new.id, latest.data, latest.expiry_date))
            yield "save", (new,)
        self._saved(new, changes, before)
        events.rotated(id, new.id)
        yield from _clear_away(id)
        return Outcome.SAVED

    def _changed(self, changes: Changes, record: Record) -> Record:
        """What a commit writes: `record` with this session's changes, or with the date ENDED when nothing is left."""
        data = {**record.data, **changes.changed}
        if record is self._stored:  # whose containers are those that the app was given
            data.update(changes.kept)
        for key in changes.removed:
            data.pop(key, None)
        expiry_date, deadline = self._expiry_date(now := self._clock(), record)
        is_empty = len(data) == (DEADLINE in data)
        if deadline is not None:
            data[DEADLINE] = deadline
        return _checked(Record(record.id, data, ENDED if is_empty or expiry_date <= now else expiry_date))

    def _expiry_date(self, now: datetime, record: Record | None) -> tuple[datetime, int | None]:
        """When a session that is saved now expires, and its deadline: once it has one, that only comes nearer."""
        deadline = None if record is None else record.data.get(DEADLINE)
        expiry_date, at_most = self._expiry.expiry_date(now), self._expiry.at_most
        if deadline is None and at_most is None:
            return expiry_date, None
        if at_most is not None:
            latest = min(to_microseconds(now) + at_most // _MICROSECOND, _LAST)
            deadline = min(latest, deadline) if isinstance(deadline, int) else latest
        if not isinstance(deadline, int):  # no deadline of ours
            return expiry_date, None
        return min(expiry_date, from_microseconds(deadline)), deadline

    def _is_worth_touching(self, touch_after: timedelta | None) -> bool:
        if touch_after is None or self._stored is None:
            return True
        return abs(self.expiry_date - self._stored.expiry_date) >= touch_after

    def _saved(self, record: Record, changes: Changes, before: _Before) -> None:
        """Take note of what a commit has stored; what was asked for meanwhile is for the next one."""
        if not self._is_now(record, before):
            return
        _, expiry, was_cycling = before
        if was_cycling:
            self._cycling = False
        if self._expiry is expiry:
            self._expiry_is_new = False
        self.settle(changes)

    def _is_now(self, record: Record, before: _Before) -> bool:
        """Take note of the record that the session is now; false if it was flushed meanwhile, and so ends."""
        if self._flushes != before[0]:
            self._ending[record.id] = None
            return False
        self._stored = record
        return True

    def _gone(self, before: _Before) -> None:
        """Take note that there is no such session; what was begun meanwhile is another one."""
        if self._flushes == before[0]:
            self._forget()

    def _forget(self) -> None:
        """Become a new session without data."""
        dict.clear(self)
        self._stored = None
        self._drop()

    def _drop(self) -> None:
        """Have nothing to commit any more."""
        self._before.clear()
        self._cycling = self._expiry_is_new = False


def _clear_away(id: Id) -> Steps[None]:
    """Delete a record that no request can load any more, or whose id nobody knows."""
    try:
        yield "delete", (id,)
    except SessionError as error:  # all that counts has been done
        _log.warning("what is left of a session could not be deleted, and waits for a sweep: %s", error)


def _checked(record: Record) -> Record:
    """The record, whose data needs no second look: what was set, `changes` has checked; the rest was in the store."""
    record.is_checked = True
    return record


_filling = ModuleLock()  # for microseconds, so one is enough for all sessions
_NOT_LOADED = NotLoaded()
