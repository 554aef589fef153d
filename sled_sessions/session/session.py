"""The session: one visitor's data, as a dict that knows what changed in it. `commit.py` says how it is stored."""

import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, NoReturn, TypeVar

from sled_sessions.errors import EncodeError
from sled_sessions.records import Expiry, Id, Record
from sled_sessions.records.expiry import SESSION_END, policy_of
from sled_sessions.records.reserved import RESERVED, read_reserved
from sled_sessions.session.base import NOT_LOADED, Ignored, SessionDict
from sled_sessions.session.changes import ABSENT, CANNOT_PACK, SCALARS, UNCHANGING, Changes, check, image_of, pack
from sled_sessions.session.lifetime import NewPolicy, lifetime
from sled_sessions.session.shapes import from_data, to_data
from sled_sessions.stores.clock import Clock, utc_now
from sled_sessions.tracebacks import forget_locals, guarded

_CONTAINERS = (list, dict)
_T = TypeVar("_T")


class Session(SessionDict):
    """One visitor's session: a dict of JSON values with an id and an expiry.

    It is loaded on first use. Nothing is written before the commit, which the middleware or a `SessionManager` makes;
    it merges the keys that were set and removed here onto the stored record, so that concurrent requests keep
    each other's keys. A session without data is not stored, and one that has lost its last key ends.

    Changes are found by comparing values, lists and dicts in their encoded form: setting an equal value is no change,
    and `session["cart"].append(...)` is one. Only values that were handed out or set are compared.

    It is a real dict, so `json.dumps` takes it. Code that reads a dict's memory without calling its methods (msgspec,
    orjson) meets a `NotLoaded` until the session is first used: give it `dict(session)`.

    Args:
        load: Returns the record of the visitor's session, or None for a new one; called once, or by each of the
            threads that use the session first at the same time.
        expiry: The policy; None is `Expiry.on_session_end()`.
        clock: Returns the current time in UTC.
        max_bytes: The size of the store's largest record. A value that cannot fit is refused when it is set, or if it
            has grown in place, before the commit does anything else.
    """

    # `MutableMapping` is the first base, so every operation goes through the methods below; `dict` is the second, so
    # that code that insists on a dict accepts it. `commit.py` reads and writes the underscored attributes.
    __slots__ = (
        "_before",
        "_clock",
        "_expiry",
        "_flushed",
        "_flushes",
        "_is_cycling",
        "_load",
        "_max_bytes",
        "_new_policy",
        "_own",
        "_stored",
        "is_loaded",
    )

    def __init__(
        self,
        load: Callable[[], Record | None],
        *,
        expiry: Expiry | None = None,
        clock: Clock = utc_now,
        max_bytes: int = sys.maxsize,
    ) -> None:
        self.is_loaded = False
        """Whether the session has been used yet."""
        dict.__setitem__(self, "", NOT_LOADED)
        self._load = load
        self._expiry = expiry or SESSION_END
        self._clock = clock
        self._max_bytes = max_bytes
        self._before: dict[str, object] = {}  # keys that were touched, each with the image of its stored value
        self._stored: Record | None = None  # as last seen in the store; None for a new session
        self._flushed: dict[Id, None] = {}  # ids to be deleted, in this order
        self._flushes = 0  # counts `flush` calls, so that a commit notices one that came while it awaited a store
        self._is_cycling = False
        self._own: Expiry | None = None  # the policy that is stored with the session
        self._new_policy: NewPolicy | None = None  # the one to be stored

    def load(self) -> None:
        """Load the session now, if it has not been used yet.

        Raises:
            BackendError, DecodeError: As the store's `load`.
        """
        if self.is_loaded:
            return
        record = self._load()
        with _filling:  # a signal handler that loads the session meanwhile does the same again, which changes nothing
            if not self.is_loaded:  # another thread may have loaded it, and used it since
                self._stored, data = record, {} if record is None else record.data
                dict.update(self, data)
                if "" not in data:
                    dict.pop(self, "", None)
                if dict.pop(self, RESERVED, None) is not None:
                    self._own = read_reserved(data[RESERVED])[1]
                self.is_loaded = True

    # Starlette calls `mark_accessed` whenever an app reads `request.session`, and apps written for it call
    # `mark_modified` after a nested change, which is noticed here without that.
    mark_accessed = mark_modified = load

    def __getitem__(self, key: str) -> Any:
        if not self.is_loaded:
            self.load()
        value = dict.__getitem__(self, key)
        if isinstance(value, _CONTAINERS) and key not in self._before:  # the app may change it in place
            self._before[key] = image_of(key, value)
        return value

    def __setitem__(self, key: str, value: Any) -> None:
        if not self.is_loaded:
            self.load()
        # Refuse what no record can hold here, where the mistake is, rather than on saving. Scalars take a short cut.
        try:
            is_fit = type(key) is str and type(value) in SCALARS and len(pack((key, value))) <= self._max_bytes
        except CANNOT_PACK:
            is_fit = False
        if not is_fit:
            try:
                check(key, value, self._max_bytes)  # accepts it, or raises with the path
            except EncodeError as error:
                del value
                forget_locals(error)
                raise
        if key == RESERVED:
            del value
            raise EncodeError(f"the key {key!r} is reserved for internal use; choose another")
        self._remember(key)
        dict.__setitem__(self, key, value)

    def __delitem__(self, key: str) -> None:
        self.load()
        if not dict.__contains__(self, key):
            raise KeyError(key)
        self._remember(key)
        dict.__delitem__(self, key)

    def __iter__(self) -> Iterator[str]:
        self.load()
        return dict.__iter__(self)

    def __reversed__(self) -> Iterator[str]:
        self.load()
        return dict.__reversed__(self)

    def __len__(self) -> int:
        self.load()
        return dict.__len__(self)

    def __contains__(self, key: object) -> bool:
        self.load()
        return dict.__contains__(self, key)

    def popitem(self) -> tuple[str, Any]:
        """Remove the key that was set last, and return it with its value.

        Raises:
            KeyError: The session is empty.
        """
        for key in reversed(self):
            return key, self.pop(key)
        raise KeyError("popitem(): the session is empty")

    @guarded
    def get_as(self, key: str, shape: type[_T]) -> _T | None:
        """The key's value as a msgspec struct, attrs class, dataclass, Pydantic model or any other type of msgspec's.

        It is a copy: `set_as` writes it back. None if the key is missing. O(n).

        Raises:
            DecodeError: The value does not have this shape: perhaps an older version of the app has written it.
        """
        value = self.get(key)
        return None if value is None else from_data(value, shape, f"session[{key!r}]")

    @guarded
    def set_as(self, key: str, value: object) -> None:
        """Set the key to such an object's data, which are JSON: datetimes and the like become text. O(n).

        Raises:
            EncodeError: The object, or a part of it, cannot be turned into JSON.
        """
        self[key] = to_data(value)

    def copy(self) -> dict[str, Any]:
        """A plain dict with the same values."""
        return dict(self)

    def __ne__(self, other: object) -> bool:
        return not self == other  # dict's own method would compare an unloaded dict

    def __or__(self, other: Mapping[str, Any]) -> dict[str, Any]:  # type: ignore[override]
        return self.copy() | dict(other)

    def __ror__(self, other: Mapping[str, Any]) -> dict[str, Any]:  # type: ignore[override]
        return dict(other) | self.copy()

    def __ior__(self, other: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> "Session":  # type: ignore[override]
        self.update(other)
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} cannot be pickled or deep-copied; dict(...) of it can")

    __hash__ = None

    @property
    def id(self) -> Id | None:
        """The id under which the session is stored; None for a new one until it is committed."""
        if not self.is_loaded:
            self.load()
        return None if self._stored is None else self._stored.id

    @property
    def expiry(self) -> Expiry:
        """The policy of this session: its own, or else the middleware's.

        One that is set here is stored with the session, and stays its own until another is set; None goes back to the
        middleware's. Its `at_most` counts from the commit. Setting the policy that the session has changes nothing.
        """
        self.load()
        return self._policy()

    @expiry.setter
    def expiry(self, expiry: Expiry | None) -> None:
        self.load()
        is_back = expiry is None and (self._own is not None or self._new_policy is not None)
        if is_back or (self._expiry if expiry is None else policy_of(expiry)) != self._policy():
            self._new_policy = NewPolicy(expiry)

    def _policy(self) -> Expiry:
        own = self._own if self._new_policy is None else self._new_policy.own
        return own or self._expiry

    @property
    def expiry_date(self) -> datetime:
        """When the session expires if it is committed now."""
        self.load()
        return self._lifetime(self._clock(), self._stored)[0]

    @property
    def expiry_age(self) -> timedelta:
        """How long the session lives if it is committed now; zero rather than negative."""
        self.load()
        now = self._clock()
        return max(self._lifetime(now, self._stored)[0] - now, timedelta(0))

    @property
    def max_age(self) -> timedelta | None:
        """The Max-Age of a cookie for the session as it was committed; None: until the browser is closed."""
        if self._stored is None or (self._own or self._expiry).ends_with_browser:
            return None
        return self._stored.expiry_date - self._clock()

    @property
    def is_empty(self) -> bool:
        """Whether the session has no data."""
        return not self

    # Names of Starlette and Quart, whose sessions allow setting them; Quart does so on each request.
    new = Ignored(lambda session: session.id is None)
    permanent = Ignored(lambda session: not session._policy().ends_with_browser)
    accessed = Ignored(lambda session: session.is_loaded)
    modified = Ignored(lambda session: session.is_modified)

    @property
    def is_modified(self) -> bool:
        """Whether a commit would write more than a new expiry date. Encodes the values that were used."""
        if self._flushed or self._is_cycling or self._new_policy is not None:
            return True
        changes = self.changes()
        return bool(changes.changed or changes.removed)

    @property
    def is_untouched(self) -> bool:
        """Whether nothing was done to the session, since it was opened or committed, that could have changed it."""
        return not (self._before or self._flushed or self._is_cycling or self._new_policy)

    @property
    def is_ending(self) -> bool:
        """Whether a commit would delete what was flushed."""
        return bool(self._flushed)

    @property
    def needs_new_id(self) -> bool:
        """Whether a commit would store the session under an id that its visitor does not have yet."""
        return self.is_loaded and (dict.__len__(self) > 0 if self._stored is None else self._is_cycling)

    def flush(self) -> None:
        """End the session, for log-outs: its data goes now, and its record with the commit, whatever the response is.

        What is set afterwards begins another session with another id.
        """
        if (id := self.id) is not None:
            self._flushed[id] = None
        self._flushes += 1
        self._forget()

    def cycle_id(self) -> None:
        """Keep the data and change the id with the commit: for logins, so that a planted id is worthless."""
        self.load()
        self._is_cycling = True

    def __repr__(self) -> str:
        # Values may be secrets, and a repr must not load the session.
        state = f"{self.id!r}, keys={list(dict.keys(self))}" if self.is_loaded else "not loaded"
        return f"Session({state})"

    def _repr_html_(self) -> str:
        from sled_sessions.session.shown import card

        return card(self)

    def _lifetime(self, now: datetime, record: Record | None) -> tuple[datetime, dict[str, Any] | None]:
        """When a session that is saved now expires, and what its record keeps about that under the reserved key."""
        reserved = None if record is None else record.data.get(RESERVED)
        policy = self._expiry
        if reserved is None and self._new_policy is None and policy.at_most is None:  # as for nearly every session
            try:
                return policy.deadline or now + policy.lifetime, None
            except OverflowError:
                return policy.expiry_date(now), None
        return lifetime(policy, self._new_policy, reserved, now)

    def changes(self) -> Changes:
        """What was changed since loading or `settle`.

        Encodes each value that was handed out or set, once more than it was when it was handed out or set: O(n).

        Raises:
            EncodeError: JSON cannot hold what a value has become.
            RecordTooLarge: It has become larger than any record.
        """
        changes = Changes(changed={}, kept={}, removed=[], images={})
        try:
            self._compare(changes)
        except EncodeError as error:
            del changes
            forget_locals(error)
            raise
        return changes

    def _compare(self, changes: Changes) -> None:
        for key, before in list(self._before.items()):  # a copy, since another thread may be using the session
            value = dict.get(self, key, ABSENT)
            now = changes.images[key] = value if type(value) in UNCHANGING else image_of(key, value)
            if isinstance(now, bytes):
                changes.add_container(key, now, before, self._max_bytes)
            elif type(now) is not type(before) or now != before:
                if now is ABSENT:
                    changes.removed.append(key)
                else:
                    changes.changed[key] = now

    def settle(self, changes: Changes) -> None:
        """Treat these as stored. What was done since is a new change, and containers handed out are still watched."""
        touched, self._before = self._before, {}
        for key, before in list(touched.items()):
            stored = changes.images.get(key, before)
            if type(stored) not in UNCHANGING or dict.get(self, key, ABSENT) is not stored:
                self._before[key] = stored

    def _remember(self, key: str) -> None:
        if key not in self._before:
            value = dict.get(self, key, ABSENT)
            self._before[key] = value if type(value) in UNCHANGING else image_of(key, value)

    def _continue_as(self, record: Record, flushes: int) -> bool:
        """Take this as the stored record; if the session was flushed since, mark it for deletion and return false."""
        if self._flushes != flushes:
            self._flushed[record.id] = None
            return False
        self._stored = record
        self._own = read_reserved(record.data[RESERVED])[1] if RESERVED in record.data else None
        return True

    def _forget(self) -> None:
        """Become a new session without data."""
        dict.clear(self)
        self._stored = self._own = None
        self._discard_changes()

    def _discard_changes(self) -> None:
        """Leave nothing to commit."""
        self._before.clear()
        self._is_cycling, self._new_policy = False, None


_filling = threading.RLock()  # one for all: each session would need its own for every request otherwise
os.register_at_fork(after_in_child=lambda: globals().update(_filling=threading.RLock()))
