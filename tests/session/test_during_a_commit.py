"""Changes to a session while its commit waits for the store."""

import itertools
from datetime import UTC, datetime

import pytest
from pausing import Pausing, finish

from sled_sessions import Expiry
from sled_sessions.session import Outcome
from sled_sessions.session.commit import commit

FUTURE = datetime(2099, 1, 1, tzinfo=UTC)


def test_values_set_during_a_commit(manager, store):
    """A value that another task sets while the commit waits for the store is written by the next commit."""
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


def commit_with(session, store, act, call):
    """Commit, and run `act` just before this call of the store; false if the commit makes fewer calls."""
    steps, has_acted = commit(session, Pausing(store)), False
    try:
        for number in itertools.count():
            steps.send(None)
            if number == call:
                act()
                has_acted = True
    except StopIteration:
        return has_acted


def session_to_commit(manager, kind):
    """Return a session with something to commit: a new one, a changed one, or one about to get a new id."""
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
def test_flush_during_a_commit(manager, store, kind, call):
    """A session that is flushed during a commit has ended when the commit returns."""
    session = session_to_commit(manager, kind)
    assert commit_with(session, store, session.flush, call)
    assert session.id is None
    assert store.count() == 0
    assert manager.commit(session) is Outcome.GONE  # as for any new session without data


@pytest.mark.parametrize("is_deleted_elsewhere", [False, True])
@pytest.mark.parametrize(("kind", "call"), CALLS)
def test_new_session_during_a_commit(manager, store, kind, call, is_deleted_elsewhere):
    """Values set after a flush belong to a new session, even if the flush came during a commit."""
    session = session_to_commit(manager, kind)

    def act():
        session.flush()
        session.update(n=1, user="bob")
        for record in list(store.records()) if is_deleted_elsewhere else ():
            store.delete(record.id)

    assert commit_with(session, store, act, call)
    assert manager.commit(session) is Outcome.SAVED
    assert store.load(session.id).data == {"n": 1, "user": "bob"}
    assert store.count() == 1


@pytest.mark.parametrize(("kind", "call"), CALLS)
def test_policy_set_during_a_commit(manager, store, clock, kind, call):
    """An expiry policy set during a commit is written by the next one."""
    session = session_to_commit(manager, kind)
    assert commit_with(session, store, lambda: setattr(session, "expiry", Expiry.at(FUTURE)), call)
    manager.commit(session)
    assert store.load(session.id).expiry_date == FUTURE


def test_cycle_id_during_a_commit(manager, store):
    """`cycle_id` during a commit takes effect with the next one."""
    session = session_to_commit(manager, "changed")
    old = session.id
    assert commit_with(session, store, session.cycle_id, 0)
    assert manager.commit(session) is Outcome.SAVED
    assert session.id != old
    assert store.load(old) is None


def test_two_commits_of_an_ended_session(manager, store):
    """Two concurrent commits, as of a WebSocket that is closed twice, may both end the session."""
    session = session_to_commit(manager, "changed")
    session.flush()
    commits = [commit(session, Pausing(store)) for _ in range(2)]
    assert [steps.send(None) for steps in commits] == ["delete", "delete"]
    assert [finish(steps) for steps in commits] == [Outcome.GONE, Outcome.GONE]
    assert store.count() == 0
