"""SessionManager: sessions in scripts and notebooks."""

from datetime import UTC, datetime, timedelta

import pytest

from sled_sessions import BackendError, EncodeError, Expiry, Id, MemoryStore
from sled_sessions.session import Outcome, SessionManager

FUTURE = datetime(2099, 1, 1, tzinfo=UTC)


def test_open_commit_end(manager, store):
    """A session can be opened, committed, opened again by its id, and ended."""
    session = manager.open()
    session["user"] = "ada"
    assert session.id is None
    assert manager.commit(session) is Outcome.SAVED
    found = manager.open(session.id)
    assert dict(found) == {"user": "ada"}
    assert manager.commit(found) is Outcome.UNCHANGED
    manager.end(found)
    assert found.id is None
    assert store.count() == 0


def test_with_block(manager, store):
    """A with block commits at its end, but not when it raises."""
    with manager.session() as session:
        session["n"] = 1
    with pytest.raises(ZeroDivisionError), manager.session(session.id) as failing:
        failing.pop("n") / 0
    assert dict(manager.open(session.id)) == {"n": 1}


def test_unknown_ids(manager, store):
    """An unknown id opens a new session, which gets another id."""
    unknown = Id.new()
    with manager.session(unknown) as session:
        assert session.id is None
        session["n"] = 1
    assert session.id not in (None, unknown)


def test_repeated_commits(manager):
    """A session can be changed and committed repeatedly, nested values included."""
    session = manager.open()
    cart = session.setdefault("cart", [])
    for n in range(3):
        cart.append(n)
        assert manager.commit(session) is Outcome.SAVED
        assert manager.commit(session) is Outcome.UNCHANGED
        assert manager.open(session.id)["cart"] == list(range(n + 1))


def test_policy_is_committed_once(manager):
    """Setting a policy is written by the next commit, and only by that one."""
    session = manager.open()
    session["n"] = 1
    session.expiry = Expiry.at(FUTURE)
    assert manager.commit(session) is Outcome.SAVED
    assert manager.commit(session) is Outcome.UNCHANGED


@pytest.mark.parametrize("value", [{1}, b"x", float("nan"), 2**64, timedelta(1)])
def test_values_outside_json_are_refused(manager, store, value):
    """A value that JSON cannot represent is refused when it is set, or at commit if it was put in a container."""
    with manager.session() as session:
        session["list"] = [[]]
    with pytest.raises(EncodeError), manager.session(session.id) as setting:
        setting["new"] = value
    for place in (lambda session: session["list"], lambda session: session["list"][0]):
        with pytest.raises(EncodeError), manager.session(session.id) as appending:
            place(appending).append(value)
    assert dict(manager.open(session.id)) == {"list": [[]]}


def test_empty_session(manager, store):
    """A session without data is not stored, and one that has lost its data is deleted."""
    session = manager.open()
    assert manager.commit(session) is Outcome.UNCHANGED  # not loaded yet
    assert session.is_empty
    assert manager.commit(session) is Outcome.GONE
    session["n"] = 1
    manager.commit(session)
    session.clear()
    assert manager.commit(session) is Outcome.GONE
    assert store.count() == 0


def test_policy_already_expired(manager, store, clock):
    """A new session whose policy has already expired is not stored, and the session is then unmodified."""
    session = manager.open()
    session["n"] = 1
    session.expiry = Expiry.at(clock())
    assert manager.commit(session) is Outcome.GONE
    assert (session.id, dict(session), session.is_modified) == (None, {}, False)
    assert store.count() == 0


def test_session_deleted_elsewhere(manager, store):
    """A session that was deleted elsewhere is not brought back by this commit or the next one."""
    session = manager.open()
    session["n"] = 1
    manager.commit(session)
    store.delete(session.id)
    session["n"] = 2
    assert manager.commit(session) is Outcome.GONE
    assert session.is_empty
    assert manager.commit(session) is Outcome.GONE
    assert store.count() == 0


def test_failed_commit_can_be_repeated(clock):
    """When the store fails, the session keeps its changes, and the next commit writes them."""

    class Flaky(MemoryStore):
        fails = True

        def update(self, id, change, *, seen=None):
            if self.fails:
                raise BackendError("not now")
            return super().update(id, change)

    store = Flaky(clock=clock)
    manager = SessionManager(store, clock=clock)
    session = manager.open()
    session["n"] = 1
    manager.commit(session)
    old = session.id
    session["n"] = 2
    session.cycle_id()
    with pytest.raises(BackendError):
        manager.commit(session)
    store.fails = False
    assert manager.commit(session) is Outcome.SAVED
    assert store.load(session.id).data == {"n": 2}
    assert store.load(old) is None


def test_new_id_already_taken(manager, store, monkeypatch):
    """A new session whose random id is taken gets another; the existing session stays unchanged."""
    with manager.session() as first:
        first["n"] = 1
    answers = iter([first.id, Id.new()])
    monkeypatch.setattr(Id, "new", classmethod(lambda cls: next(answers)))
    with manager.session() as second:
        second["n"] = 2
    assert second.id != first.id
    assert store.load(first.id).data == {"n": 1}
    assert store.load(second.id).data == {"n": 2}
