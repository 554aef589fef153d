"""Sessions without a web server: in a notebook, a script, a job."""

from collections.abc import Iterator
from contextlib import contextmanager

from sled_sessions.records import Expiry, Id
from sled_sessions.records.expiry import policy_of
from sled_sessions.session.drive import drive
from sled_sessions.session.session import Outcome, Session
from sled_sessions.stores.clock import Clock, clock_of
from sled_sessions.stores.protocol import SessionStore, check_blocking


class SessionManager:
    """Opens, commits and ends sessions of a store.

        with SessionManager(store).session(id) as session:
            session["seen"] = True

    Args:
        store: Where the sessions lie.
        expiry: The policy of the sessions it opens; None is `Expiry.on_session_end()`.
        clock: Returns the present moment as an aware datetime; None is the store's.

    Raises:
        TypeError: `store` is no store, or an asynchronous one, or `expiry` no policy.
        EncodeError: `clock` returns no aware datetime.
    """

    def __init__(self, store: SessionStore, *, expiry: Expiry | None = None, clock: Clock | None = None) -> None:
        check_blocking(store, "give the store that it wraps, or await its own methods")
        self._store = store
        self._expiry = policy_of(expiry)
        self._clock = clock_of(store, clock)

    def __repr__(self) -> str:
        return f"SessionManager({self._store!r})"

    def open(self, id: Id | None = None) -> Session:
        """Open a session: that of `id`, or a new one when `id` is None or the store has no live session under it."""
        return Session(lambda: None if id is None else self._store.load(id), expiry=self._expiry, clock=self._clock)

    def commit(self, session: Session) -> Outcome:
        """Write what was changed; afterwards `session.id` is the id to open it by, None when it has ended.

        Raises:
            EncodeError: JSON cannot hold the data. Nothing was written.
            BackendError: As the store's methods.
        """
        return drive(session.commit(), self._store)

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
