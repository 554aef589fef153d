"""Sessions in scripts and notebooks."""

from datetime import UTC, datetime, timedelta

import pytest

from sled_sessions import BackendError, EncodeError, Expiry, Id, MemoryStore, Record, SledStore
from sled_sessions.session import Outcome, SessionManager

FUTURE = datetime(2099, 1, 1, tzinfo=UTC)


def test_open_commit_end(manager, store):
    """A session is begun, found again by its id, and ended."""
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


def test_the_block(manager, store):
    """A with block commits at its end, and not when it raises."""
    with manager.session() as session:
        session["n"] = 1
    with pytest.raises(ZeroDivisionError), manager.session(session.id) as failing:
        failing.pop("n") / 0
    assert dict(manager.open(session.id)) == {"n": 1}


def test_unknown_ids(manager, store):
    """An id that the store does not know opens a new session, under another id."""
    unknown = Id.new()
    with manager.session(unknown) as session:
        assert session.id is None
        session["n"] = 1
    assert session.id not in (None, unknown)


def test_committing_again(manager):
    """A session can be changed and committed as often as one likes, nested values included."""
    session = manager.open()
    cart = session.setdefault("cart", [])
    for n in range(3):
        cart.append(n)
        assert manager.commit(session) is Outcome.SAVED
        assert manager.commit(session) is Outcome.UNCHANGED
        assert manager.open(session.id)["cart"] == list(range(n + 1))


def test_a_policy_is_committed_once(manager):
    """A policy that was set goes with the next commit, and leaves the one after it nothing to do."""
    session = manager.open()
    session["n"] = 1
    session.expiry = Expiry.at(FUTURE)
    assert manager.commit(session) is Outcome.SAVED
    assert manager.commit(session) is Outcome.UNCHANGED


@pytest.mark.parametrize("cycle", [False, True])
def test_what_another_program_has_stored_stays(tmp_path, clock, cycle):
    """A value that JSON lacks, written past this package, is kept by a session that changes other keys."""
    with SledStore.open(tmp_path / "storage", clock=clock) as store:
        record = Record(Id.new(), {"old": "x"}, Expiry.on_session_end().expiry_date(clock()))
        store.tree.insert(record.id.key, record.encode().replace(b"\xa1x", b"\xc4\x01x"))  # MessagePack's bytes
        with SessionManager(store).session(record.id) as session:
            session["new"] = 1
            if cycle:
                session.cycle_id()
        assert store.load(session.id).data == {"old": b"x", "new": 1}


@pytest.mark.parametrize("value", [{1}, b"x", float("nan"), 2**64, timedelta(1)])
def test_what_json_lacks_is_refused_however_it_comes_in(manager, store, value):
    """A value is refused when it is set, and when a container that was stored has it by the time of the commit."""
    with manager.session() as session:
        session["list"] = [[]]
    with pytest.raises(EncodeError), manager.session(session.id) as setting:
        setting["new"] = value
    for place in (lambda session: session["list"], lambda session: session["list"][0]):
        with pytest.raises(EncodeError), manager.session(session.id) as appending:
            place(appending).append(value)
    assert dict(manager.open(session.id)) == {"list": [[]]}


def test_nothing_to_store(manager, store):
    """A session without data is not stored, one that has lost it is deleted."""
    session = manager.open()
    assert manager.commit(session) is Outcome.UNCHANGED  # nobody has used it
    assert session.is_empty
    assert manager.commit(session) is Outcome.GONE
    session["n"] = 1
    manager.commit(session)
    session.clear()
    assert manager.commit(session) is Outcome.GONE
    assert store.count() == 0


def test_over_before_it_began(manager, store, clock):
    """A new session whose policy has ended it is not stored, and the next commit finds nothing to do, either."""
    session = manager.open()
    session["n"] = 1
    session.expiry = Expiry.at(clock())
    assert manager.commit(session) is Outcome.GONE
    assert (session.id, dict(session), session.is_modified) == (None, {}, False)
    assert store.count() == 0


def test_gone_in_the_meantime(manager, store):
    """A session that was ended elsewhere is not brought back by a commit, nor by the next one."""
    session = manager.open()
    session["n"] = 1
    manager.commit(session)
    store.delete(session.id)
    session["n"] = 2
    assert manager.commit(session) is Outcome.GONE
    assert session.is_empty
    assert manager.commit(session) is Outcome.GONE
    assert store.count() == 0


def test_a_commit_that_failed_can_be_repeated(clock):
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


def test_new_ids_are_never_taken_ones(manager, store, monkeypatch):
    """A new session whose id is taken gets another; the one that was there stays."""
    with manager.session() as first:
        first["n"] = 1
    answers = iter([first.id, Id.new()])
    monkeypatch.setattr(Id, "new", classmethod(lambda cls: next(answers)))
    with manager.session() as second:
        second["n"] = 2
    assert second.id != first.id
    assert store.load(first.id).data == {"n": 1}
    assert store.load(second.id).data == {"n": 2}
