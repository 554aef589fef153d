"""Sessions in scripts and notebooks."""

import itertools
import logging
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from sled_sessions import BackendError, EncodeError, Expiry, Id, MemoryStore, Record, RecordTooLarge, SledStore
from sled_sessions.session import Outcome, SessionManager

FUTURE = datetime(2099, 1, 1, tzinfo=UTC)


@contextmanager
def broken(monkeypatch, store, method):
    """For as long as the block runs, this method of the store fails."""

    def fail(*arguments):
        raise BackendError("not now")

    with monkeypatch.context() as patched:
        patched.setattr(store, method, fail)
        yield


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

        def update(self, id, change):
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
def test_an_ended_record_that_cannot_be_deleted(clock, monkeypatch, caplog, act):
    """What has ended is left to a sweep when it cannot be deleted: nobody can load it, and the request goes on."""
    store = MemoryStore(clock=clock)
    manager = SessionManager(store, clock=clock)
    with manager.session() as session:
        session["n"] = 1
    old = session.id
    getattr(session, act)()

    with broken(monkeypatch, store, "delete"):
        assert manager.commit(session) is (Outcome.SAVED if act == "cycle_id" else Outcome.GONE)
    assert store.load(old) is None
    assert "waits for a sweep" in caplog.text
    assert store.delete_expired().deleted == 1
    assert (session.id and store.load(session.id).data) == ({"n": 1} if act == "cycle_id" else None)


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


def test_what_is_set_during_a_commit_is_the_next_ones(manager, store):
    """A value that another task sets while the store is written is stored by the next commit."""
    with manager.session() as session:
        session["n"], session["cart"] = 1, [1]
    session["n"] = 2
    session["cart"].append(2)
    steps = session.commit()
    method, arguments = next(steps)
    session["n"] = 3
    session["new"] = True
    answer = getattr(store, method)(*arguments)
    session["cart"].append(3)
    with pytest.raises(StopIteration):
        steps.send(answer)
    assert manager.commit(session) is Outcome.SAVED
    assert store.load(session.id).data == {"n": 3, "cart": [1, 2, 3], "new": True}


def commit_and_meanwhile(session, store, act, call):
    """Commit, and act while the answer to so many calls of the store is awaited; false if there are not so many."""
    steps, answer, has_acted = session.commit(), None, False
    try:
        for number in itertools.count():
            method, arguments = steps.send(answer)
            if number == call:
                act()
                has_acted = True
            answer = getattr(store, method)(*arguments)
    except StopIteration:
        return has_acted


def opened(manager, kind):
    """A session with something to commit: a new one, a changed one, or one that gets another id."""
    session = manager.open()
    if kind != "new":
        session["n"] = 0
        manager.commit(session)
    if kind == "cycled":
        session.cycle_id()
    session["n"] = 1
    return session


CALLS = [("new", 0), ("changed", 0), ("cycled", 0), ("cycled", 1), ("cycled", 2)]


@pytest.mark.parametrize(("kind", "call"), CALLS)
def test_a_flush_during_a_commit(manager, store, kind, call):
    """A session that is ended while a store is awaited has ended when the commit has, whatever it was at."""
    session = opened(manager, kind)
    assert commit_and_meanwhile(session, store, session.flush, call)
    assert session.id is None
    assert store.count() == 0
    assert manager.commit(session) is Outcome.GONE  # as of any new session without data


@pytest.mark.parametrize("others_end_it", [False, True])
@pytest.mark.parametrize(("kind", "call"), CALLS)
def test_a_session_that_is_begun_during_a_commit(manager, store, kind, call, others_end_it):
    """What is set after a flush is another session's, also when the flush came during a commit."""
    session = opened(manager, kind)

    def act():
        session.flush()
        session.update(n=1, user="bob")
        for record in list(store.records()) if others_end_it else ():
            store.delete(record.id)

    assert commit_and_meanwhile(session, store, act, call)
    assert manager.commit(session) is Outcome.SAVED
    assert store.load(session.id).data == {"n": 1, "user": "bob"}
    assert store.count() == 1


@pytest.mark.parametrize(("kind", "call"), CALLS)
def test_a_policy_that_is_set_during_a_commit(manager, store, clock, kind, call):
    """A policy that another task sets while a store is awaited goes for the next commit."""
    session = opened(manager, kind)
    assert commit_and_meanwhile(session, store, lambda: setattr(session, "expiry", Expiry.at(FUTURE)), call)
    manager.commit(session)
    assert store.load(session.id).expiry_date == FUTURE


def test_a_new_id_that_is_asked_for_during_a_commit(manager, store):
    """A change of ids that another task asks for while a store is awaited comes with the next commit."""
    session = opened(manager, "changed")
    old = session.id
    assert commit_and_meanwhile(session, store, session.cycle_id, 0)
    assert manager.commit(session) is Outcome.SAVED
    assert session.id != old
    assert store.load(old) is None


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


def test_two_commits_of_a_session_that_has_ended(manager, store):
    """Two commits under way at the same time, as of a WebSocket that is closed twice, may both end the session."""
    session = opened(manager, "changed")
    session.flush()
    commits = [session.commit(), session.commit()]
    calls = [next(steps) for steps in commits]
    for steps, (method, arguments) in zip(commits, calls, strict=True):
        with pytest.raises(StopIteration) as ended:
            steps.send(getattr(store, method)(*arguments))
        assert ended.value.value is Outcome.GONE
    assert store.count() == 0


def test_a_new_id_whose_last_save_fails(manager, store):
    """A commit that has ended the old record and failed then goes on from the new one when it is made again."""
    with manager.session() as session:
        session["n"] = 1
    session["n"] = 2
    session.cycle_id()
    with manager.session(session.id) as other:
        other["theirs"] = 3

    old, steps, answer = session.id, session.commit(), None
    while (call := steps.send(answer))[0] != "save":
        answer = getattr(store, call[0])(*call[1])
    with pytest.raises(BackendError):
        steps.throw(BackendError("not now"))
    assert store.load(old) is None
    assert manager.commit(session) is Outcome.SAVED
    assert store.load(session.id).data["n"] == 2
    store.delete_expired()  # the old record has ended, and was left there
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


@pytest.mark.parametrize(("act", "event"), [("clear", "deleted"), ("cycle_id", "rotated")])
def test_events_come_before_what_is_left_is_cleared_away(manager, store, caplog, act, event):
    """A request that is cancelled while it clears away what has ended has told of the end already."""
    with manager.session() as session:
        session["n"] = 1
    getattr(session, act)()
    caplog.clear()
    steps, answer = session.commit(), None
    with caplog.at_level(logging.INFO, "sled_sessions.events"):
        while (call := steps.send(answer))[0] != "delete":
            answer = getattr(store, call[0])(*call[1])
    assert [record.event for record in caplog.records] == [event]


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


def test_events(manager, caplog):
    """A session that is begun, gets a new id and is ended is three events, by hashes that belong together."""
    caplog.set_level(logging.INFO, "sled_sessions.events")
    session = manager.open()
    session["n"] = 1
    manager.commit(session)
    session.cycle_id()
    manager.commit(session)
    session["n"] = 2
    manager.commit(session)
    manager.end(session)
    assert [record.event for record in caplog.records] == ["created", "rotated", "deleted"]
    created, rotated, deleted = caplog.records
    assert created.session == rotated.was != rotated.session == deleted.session


ENDS = pytest.mark.parametrize("acts", [["flush"], ["clear"], ["cycle_id", "clear"]], ids=" ".join)


@ENDS
def test_an_emptied_session_is_a_deleted_one(manager, caplog, acts):
    """A session that has lost its data ends as one that is flushed."""
    caplog.set_level(logging.INFO, "sled_sessions.events")
    with manager.session() as session:
        session["n"] = 1
    with manager.session(session.id) as session:
        for act in acts:
            getattr(session, act)()
    assert [record.event for record in caplog.records] == ["created", "deleted"]


@ENDS
def test_what_others_have_ended_is_not_deleted_again(manager, store, caplog, acts):
    """A session that is gone when it is to be ended is no event."""
    with manager.session() as session:
        session["n"] = 1
    caplog.set_level(logging.INFO, "sled_sessions.events")
    with manager.session(session.id) as session:
        for act in acts:
            getattr(session, act)()
        for record in list(store.records()):
            store.delete(record.id)
    assert caplog.records == []
