"""What happens to a session while its commit waits for the store."""

import itertools
from datetime import UTC, datetime

import pytest
from pausing import Pausing, finish

from sled_sessions import Expiry
from sled_sessions.session import Outcome
from sled_sessions.session.commit import commit

FUTURE = datetime(2099, 1, 1, tzinfo=UTC)


def test_what_is_set_during_a_commit_is_the_next_ones(manager, store):
    """A value that another task sets while the store is written is stored by the next commit."""
    with manager.session() as session:
        session["n"], session["cart"] = 1, [1]
    session["n"] = 2
    session["cart"].append(2)
    steps = commit(session, Pausing(store))
    assert steps.send(None) == "update"
    session["n"] = 3
    session["new"] = True
    session["cart"].append(3)
    finish(steps)
    assert manager.commit(session) is Outcome.SAVED
    assert store.load(session.id).data == {"n": 3, "cart": [1, 2, 3], "new": True}


def commit_and_meanwhile(session, store, act, call):
    """Commit, and act before this call of the store is made; false if the commit makes fewer calls."""
    steps, has_acted = commit(session, Pausing(store)), False
    try:
        for number in itertools.count():
            steps.send(None)
            if number == call:
                act()
                has_acted = True
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


CALLS = [("new", 0), ("changed", 0), ("cycled", 0), ("cycled", 1)]


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


def test_two_commits_of_a_session_that_has_ended(manager, store):
    """Two commits under way at the same time, as of a WebSocket that is closed twice, may both end the session."""
    session = opened(manager, "changed")
    session.flush()
    commits = [commit(session, Pausing(store)) for _ in range(2)]
    assert [steps.send(None) for steps in commits] == ["delete", "delete"]
    assert [finish(steps) for steps in commits] == [Outcome.GONE, Outcome.GONE]
    assert store.count() == 0
