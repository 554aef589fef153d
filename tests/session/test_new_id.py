"""A session that gets a new id while others write to it, or while its store fails."""

from contextlib import contextmanager
from datetime import timedelta

import pytest
from pausing import Pausing

from sled_sessions import BackendError, Expiry, MemoryStore, RecordTooLarge, SledStore
from sled_sessions.session import Outcome, SessionManager
from sled_sessions.session.commit import commit


@contextmanager
def broken(monkeypatch, store, method):
    """For as long as the block runs, this method of the store fails."""

    def fail(*arguments, **options):
        raise BackendError("not now")

    with monkeypatch.context() as patched:
        patched.setattr(store, method, fail)
        yield


@pytest.mark.parametrize("failing", ["create", "update"])
def test_a_new_id_that_fails_loses_nothing(clock, monkeypatch, failing):
    """Whichever call of a change of ids fails, the session is there as it was."""
    store = MemoryStore(clock=clock)
    manager = SessionManager(store, clock=clock)
    with manager.session() as session:
        session["n"] = 1
    old = session.id
    session.cycle_id()

    with broken(monkeypatch, store, failing), pytest.raises(BackendError):
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

    with broken(monkeypatch, store, "delete"):
        assert manager.commit(session) is (Outcome.SAVED if act == "cycle_id" else Outcome.GONE)
    assert store.load(old) is None
    assert store.count() == (1 if act == "cycle_id" else 0)
    assert (session.id and store.load(session.id).data) == ({"n": 1} if act == "cycle_id" else None)


def test_unused_record_waits_for_a_sweep(manager, store, monkeypatch, caplog):
    """A new record that turns out to be unneeded, and cannot be deleted, is left to a sweep; the request succeeds."""
    with manager.session() as session:
        session["mine"] = session["theirs"] = 1
    session.cycle_id()
    del session["mine"]
    with manager.session(session.id) as other:
        del other["theirs"]
    with broken(monkeypatch, store, "delete"):
        assert manager.commit(session) is Outcome.GONE
    assert "waits for a sweep" in caplog.text
    assert session.id is None


def test_a_new_id_for_a_session_that_has_become_too_large(clock, tmp_path):
    """A session that cannot be written under its new id stays as it was under the old one."""
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


def test_a_new_id_keeps_what_others_write(manager, store):
    """What another request writes while the id changes is there under the new one."""
    with manager.session() as session:
        session["n"] = 1
    session["mine"] = True
    session.cycle_id()
    with manager.session(session.id) as other:
        other["theirs"] = True
    manager.commit(session)
    assert store.load(session.id).data == {"n": 1, "mine": True, "theirs": True}
    assert store.count() == 1


def test_a_new_id_for_what_others_have_emptied(manager, store):
    """A session that has lost its last key to another request while its id changes is gone, under both ids."""
    with manager.session() as session:
        session["mine"] = session["theirs"] = 1
    session.cycle_id()
    del session["mine"]
    with manager.session(session.id) as other:
        del other["theirs"]
    assert manager.commit(session) is Outcome.GONE
    assert session.id is None
    assert store.count() == 0


def emptied_and_filled_again(manager):
    """A session that is to get another id and has been emptied, when another one writes to it; and its id so far."""
    with manager.session() as session:
        session["mine"] = 1
    old = session.id
    session.cycle_id()
    session.clear()
    with manager.session(old) as other:
        other["theirs"] = 2
    return session, old


def test_a_new_id_for_what_others_fill_again(manager, store):
    """A session that is emptied, and gets another id, does not go on under the old one when others write to it."""
    session, old = emptied_and_filled_again(manager)
    assert manager.commit(session) is Outcome.SAVED
    assert session.id != old
    assert store.load(old) is None
    assert store.load(session.id).data == {"theirs": 2}


def test_a_new_id_and_an_equal_value_of_another_type(manager, store):
    """Of 1 and True, which JSON tells apart, the one that was written last is there under the new id."""
    with manager.session() as session:
        session["flag"] = 1
    session.cycle_id()
    with manager.session(session.id) as other:
        other["flag"] = True
    manager.commit(session)
    assert store.load(session.id).data["flag"] is True


def test_a_new_id_whose_last_save_fails(manager, store):
    """A commit that has ended the old record and failed then goes on from the new one when it is made again."""
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


def test_a_new_id_that_cannot_be_made_for_what_others_have_added(manager, store, monkeypatch):
    """What others write to a session that is emptied and gets another id is there until that one is."""
    session, old = emptied_and_filled_again(manager)

    with broken(monkeypatch, store, "create"), pytest.raises(BackendError):
        manager.commit(session)
    assert store.load(old).data["theirs"] == 2
    assert manager.commit(session) is Outcome.SAVED
    assert store.load(old) is None
    assert store.load(session.id).data == {"theirs": 2}
