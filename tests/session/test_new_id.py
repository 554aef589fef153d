"""Changing the id of a session while others write to it, or while the store fails."""

from contextlib import contextmanager
from datetime import timedelta

import pytest
from pausing import Pausing

from sled_sessions import BackendError, Expiry, MemoryStore, RecordTooLarge, SledStore
from sled_sessions.session import Outcome, SessionManager
from sled_sessions.session.commit import commit


@contextmanager
def failing_method(monkeypatch, store, method):
    """Within the block, this method of the store raises."""

    def fail(*arguments, **options):
        raise BackendError("not now")

    with monkeypatch.context() as patched:
        patched.setattr(store, method, fail)
        yield


@pytest.mark.parametrize("failing", ["create", "update"])
def test_failed_id_change_loses_nothing(clock, monkeypatch, failing):
    """Whichever call of an id change fails, the session keeps its old id and data."""
    store = MemoryStore(clock=clock)
    manager = SessionManager(store, clock=clock)
    with manager.session() as session:
        session["n"] = 1
    old = session.id
    session.cycle_id()

    with failing_method(monkeypatch, store, failing), pytest.raises(BackendError):
        manager.commit(session)
    assert session.id == old
    assert store.load(session.id).data == {"n": 1}


@pytest.mark.parametrize("act", ["cycle_id", "clear"])
def test_ending_deletes_in_the_update(clock, monkeypatch, act):
    """Emptying a session, or giving it a new id, deletes the old record in the update: no second call can fail."""
    store = MemoryStore(clock=clock)
    manager = SessionManager(store, clock=clock)
    with manager.session() as session:
        session["n"] = 1
    old = session.id
    getattr(session, act)()

    with failing_method(monkeypatch, store, "delete"):
        assert manager.commit(session) is (Outcome.SAVED if act == "cycle_id" else Outcome.GONE)
    assert store.load(old) is None
    assert store.count() == (1 if act == "cycle_id" else 0)
    assert (session.id and store.load(session.id).data) == ({"n": 1} if act == "cycle_id" else None)


def test_unused_record_waits_for_a_sweep(manager, store, monkeypatch, caplog):
    """A new record that is not needed, and cannot be deleted, is left to a sweep; the commit succeeds."""
    with manager.session() as session:
        session["mine"] = session["theirs"] = 1
    session.cycle_id()
    del session["mine"]
    with manager.session(session.id) as other:
        del other["theirs"]
    with failing_method(monkeypatch, store, "delete"):
        assert manager.commit(session) is Outcome.GONE
    assert "waits for a sweep" in caplog.text
    assert session.id is None


def test_id_change_of_a_session_too_large(clock, tmp_path):
    """A session that is too large to be written under a new id stays unchanged under the old one."""
    with SledStore.open(tmp_path, clock=clock, max_record_bytes=200) as store:
        manager = SessionManager(store, expiry=Expiry.on_inactivity(timedelta(minutes=5)), clock=clock)
        for size in range(140, 170):
            with manager.session() as session:
                session["text"] = "x"
            session.cycle_id()
            session["text"] = "x" * size
            try:
                manager.commit(session)
            except RecordTooLarge:
                assert store.load(session.id).data == {"text": "x"}
            else:
                assert store.load(session.id).data == {"text": "x" * size}


def test_id_change_keeps_concurrent_writes(manager, store):
    """What another request writes before the id change is committed is stored under the new id."""
    with manager.session() as session:
        session["n"] = 1
    session["mine"] = True
    session.cycle_id()
    with manager.session(session.id) as other:
        other["theirs"] = True
    manager.commit(session)
    assert store.load(session.id).data == {"n": 1, "mine": True, "theirs": True}
    assert store.count() == 1


def test_id_change_of_a_session_emptied_together(manager, store):
    """A session whose last keys two requests remove, one while changing the id, is gone under both ids."""
    with manager.session() as session:
        session["mine"] = session["theirs"] = 1
    session.cycle_id()
    del session["mine"]
    with manager.session(session.id) as other:
        del other["theirs"]
    assert manager.commit(session) is Outcome.GONE
    assert session.id is None
    assert store.count() == 0


def emptied_here_filled_elsewhere(manager):
    """Return a session emptied and due for a new id, to which another request has written, and its old id."""
    with manager.session() as session:
        session["mine"] = 1
    old = session.id
    session.cycle_id()
    session.clear()
    with manager.session(old) as other:
        other["theirs"] = 2
    return session, old


def test_id_change_of_a_session_filled_elsewhere(manager, store):
    """An emptied session due for a new id moves to it, along with what another request wrote."""
    session, old = emptied_here_filled_elsewhere(manager)
    assert manager.commit(session) is Outcome.SAVED
    assert session.id != old
    assert store.load(old) is None
    assert store.load(session.id).data == {"theirs": 2}


def test_id_change_keeps_types(manager, store):
    """Of 1 and True, which are equal but differ in JSON, the one written last is stored under the new id."""
    with manager.session() as session:
        session["flag"] = 1
    session.cycle_id()
    with manager.session(session.id) as other:
        other["flag"] = True
    manager.commit(session)
    assert store.load(session.id).data["flag"] is True


def test_id_change_whose_last_save_fails(manager, store):
    """A commit that failed after deleting the old record continues from the new one when repeated."""
    with manager.session() as session:
        session["n"] = 1
    session["n"] = 2
    session.cycle_id()
    with manager.session(session.id) as other:
        other["theirs"] = 3

    old, steps = session.id, commit(session, Pausing(store))
    while steps.send(None) != "save":
        pass
    with pytest.raises(BackendError):
        steps.throw(BackendError("not now"))
    assert store.load(old) is None
    assert manager.commit(session) is Outcome.SAVED
    assert store.load(session.id).data["n"] == 2
    assert store.count() == 1


def test_id_change_whose_create_fails(manager, store, monkeypatch):
    """When the new record cannot be created, what another request wrote stays under the old id until it can."""
    session, old = emptied_here_filled_elsewhere(manager)

    with failing_method(monkeypatch, store, "create"), pytest.raises(BackendError):
        manager.commit(session)
    assert store.load(old).data["theirs"] == 2
    assert manager.commit(session) is Outcome.SAVED
    assert store.load(old) is None
    assert store.load(session.id).data == {"theirs": 2}
