"""Sessions without a web server: in a notebook, a script, a job."""

from collections.abc import Iterator
from contextlib import contextmanager

from sled_sessions.records import Expiry, Id
from sled_sessions.records.expiry import policy_of
from sled_sessions.session.commit import Outcome, commit
from sled_sessions.session.session import Session
from sled_sessions.stores.adapter import AsyncStore, run_inline
from sled_sessions.stores.clock import Clock, clock_of
from sled_sessions.stores.protocol import SessionStore, check_blocking, key_of
from sled_sessions.stores.wrapped import max_bytes_of
from sled_sessions.tracebacks import guarded


class SessionManager:
    """Opens, commits and ends sessions of a blocking store.

        with SessionManager(store).session(id) as session:
            session["seen"] = True

    Args:
        store: The store that holds the sessions.
        expiry: The policy of the sessions that it opens; None is `Expiry.on_session_end()`.
        clock: Returns the current time as an aware datetime; None is the store's.

    Raises:
        TypeError: `store` is not a store, or an asynchronous one, or `expiry` is not a policy.
        EncodeError: `clock` does not return an aware datetime.
    """

    def __init__(self, store: SessionStore, *, expiry: Expiry | None = None, clock: Clock | None = None) -> None:
        check_blocking(store, "give the store that it wraps, or await its own methods")
        self._store = store
        self._async_store = AsyncStore(store)
        self._expiry = policy_of(expiry)
        self._clock = clock_of(store, clock)
        self._max_bytes = max_bytes_of(store)

    def __repr__(self) -> str:
        return f"SessionManager({self._store!r})"

    @guarded
    def open(self, id: Id | None = None) -> Session:
        """Open the session with this id, or a new one if `id` is None or the store has no live session under it.

        Raises:
            TypeError: `id` is not an Id.
        """
        if id is not None:
            key_of(id)
        return Session(
            lambda: None if id is None else self._store.load(id),
            expiry=self._expiry,
            clock=self._clock,
            max_bytes=self._max_bytes,
        )

    @guarded
    def commit(self, session: Session) -> Outcome:
        """Write what was changed. Afterwards `session.id` is the id to open it by, or None if it has ended.

        Raises:
            EncodeError: JSON cannot hold the data. Nothing was written.
            BackendError: As the store's methods.
        """
        outcome = run_inline(commit(session, self._async_store), self._store)
        return Outcome.GONE if outcome is Outcome.SUPERSEDED else outcome

    def end(self, session: Session) -> None:
        """Delete the session and its data."""
        session.flush()
        self.commit(session)

    @contextmanager
    def session(self, id: Id | None = None) -> Iterator[Session]:
        """Open a session and commit it at the end of the block; an exception leaves the store as it was."""
        session = self.open(id)
        yield session
        self.commit(session)
