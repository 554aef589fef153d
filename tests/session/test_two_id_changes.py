"""Two commits of one session at the same moment, of which one or both change its id, in every order of their steps."""

import itertools
from datetime import timedelta

import pytest
from pausing import Pausing

from sled_sessions import Id, Record
from sled_sessions.session import Outcome
from sled_sessions.session.commit import commit

GRACE = timedelta(seconds=60)


def orders(steps):
    """Every order of the steps of two commits: a tuple of 0 and 1 for whose turn it is."""
    for turns in itertools.combinations(range(2 * steps), steps):
        yield tuple(int(place in turns) for place in range(2 * steps))


def run_in_order(order, commits):
    """Run two commits, a step at a time, and then each to its end; returns their outcomes."""
    outcomes = [None, None]
    for turn in (*order, *[0] * 20, *[1] * 20):
        if outcomes[turn] is None:
            try:
                commits[turn].send(None)
            except StopIteration as stop:
                outcomes[turn] = stop.value
    return outcomes


@pytest.fixture
def opened(manager, store, clock):
    """A function that opens a stored session twice."""

    def open_twice():
        for record in list(store.records()):
            store.delete(record.id)
        id = store.create(Record(Id.new(), {"cart": 1}, clock() + timedelta(hours=1))).id
        sessions = manager.open(id), manager.open(id)
        for session in sessions:
            session.load()
        return id, *sessions

    return open_twice


def data_in(store):
    return sorted((record.data for record in store.records()), key=len)


def test_two_changes_of_an_id(store, opened):
    """One of two requests that change an id at the same moment moves the session, and the other begins one."""
    for order in orders(5):
        old, *sessions = opened()
        for number, session in enumerate(sessions):
            session.cycle_id()
            session["by"] = number
        commits = [commit(session, Pausing(store), rotation_grace=GRACE) for session in sessions]
        assert run_in_order(order, commits) == [Outcome.SAVED, Outcome.SAVED]
        begun, moved = data_in(store)
        assert (len(begun), len(moved)) == (1, 2)
        assert {begun["by"], moved["by"]} == {0, 1}
        assert store.load(old) is None
        assert store.was_rotated(old)
        for session in sessions:
            assert store.load(session.id).data == dict(session)


def test_change_of_an_id_and_log_out(store, opened):
    """What a log-out has ended does not live on under the new id that a login gives it at the same moment."""
    seen = set()
    for order in orders(5):
        old, login, log_out = opened()
        login.cycle_id()
        login["by"] = 0
        log_out.flush()
        outcomes = run_in_order(
            order, [commit(each, Pausing(store), rotation_grace=GRACE) for each in (login, log_out)]
        )
        assert outcomes[1] is Outcome.GONE
        assert store.load(old) is None
        seen.add((outcomes[0], *map(len, data_in(store))))
    # The login was faster and moved the session, came while its mark was there, or was slower.
    assert seen == {(Outcome.SAVED, 2), (Outcome.SAVED, 1), (Outcome.SUPERSEDED,)}


def test_change_of_an_id_and_a_write(store, opened):
    """What another request writes at the same moment is in the session that the login moves, or is dropped and said."""
    for order in orders(5):
        _, login, other = opened()
        login.cycle_id()
        login["by"] = 0
        other["draft"] = "text"
        outcomes = run_in_order(order, [commit(each, Pausing(store), rotation_grace=GRACE) for each in (login, other)])
        (data,) = data_in(store)
        assert outcomes[0] is Outcome.SAVED
        assert data == {"cart": 1, "by": 0} | ({"draft": "text"} if outcomes[1] is Outcome.SAVED else {})
