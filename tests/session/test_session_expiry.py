"""When a session expires: policies and deadlines."""

from datetime import timedelta

import pytest
from pausing import Pausing, finish

from sled_sessions import Expiry, Id, Record, Session
from sled_sessions.session import SessionManager
from sled_sessions.session.commit import commit
from sled_sessions.session.session import DEADLINE


def test_expiry(clock):
    """expiry_date and expiry_age are those that a commit would write; a policy of None is the browser session."""
    session = Session(lambda: None, expiry=Expiry.on_inactivity(timedelta(hours=1)), clock=clock)
    assert session.expiry_date == clock() + timedelta(hours=1)
    assert session.expiry_age == timedelta(hours=1)
    session.expiry = Expiry.at(clock() - timedelta(hours=1))
    assert session.expiry_age == timedelta(0)
    session.expiry = None
    assert session.expiry == Expiry.on_session_end()
    assert session.expiry_age == timedelta(weeks=2)
    assert session.is_modified


def test_touch_after_writes_an_earlier_expiry(store, clock):
    """`touch_after` does not skip a write that moves the expiry earlier by at least as much."""
    record = store.create(Record(Id.new(), {"a": 1}, clock() + timedelta(hours=5)))
    session = Session(lambda: record, expiry=Expiry.on_inactivity(timedelta(hours=1)), clock=clock)
    finish(commit(session, Pausing(store), always_save=True, touch_after=timedelta(hours=2)))
    assert store.load(record.id).expiry_date == clock() + timedelta(hours=1)


def test_expiry_date_respects_the_deadline(store, clock):
    """expiry_date respects the stored deadline even if the session has not been used yet."""
    manager = SessionManager(
        store, expiry=Expiry.on_inactivity(timedelta(hours=5), at_most=timedelta(hours=6)), clock=clock
    )
    with manager.session() as session:
        session["n"] = 1
    clock.move(timedelta(hours=4))
    assert manager.open(session.id).expiry_age == timedelta(hours=2)
    assert manager.open(session.id).expiry_date == clock() + timedelta(hours=2)


@pytest.mark.parametrize(
    ("later", "left"),
    [
        (Expiry.on_inactivity(timedelta(hours=10)), 4),
        (Expiry.on_inactivity(timedelta(hours=10), at_most=timedelta(days=1)), 4),
        (Expiry.on_inactivity(timedelta(hours=10), at_most=timedelta(hours=2)), 2),
    ],
)
def test_deadline_only_moves_earlier(store, clock, later, left):
    """A deadline stays in force under later policies, which may move it earlier but not later."""
    begun = Expiry.on_inactivity(timedelta(hours=10), at_most=timedelta(hours=5))
    with SessionManager(store, expiry=begun, clock=clock).session() as session:
        session["n"] = 1
    clock.move(timedelta(hours=1))
    with SessionManager(store, expiry=later, clock=clock).session(session.id) as session:
        session["n"] = 2
    assert store.load(session.id).expiry_date == clock() + timedelta(hours=left)


def test_flush_begins_a_new_deadline(store, clock):
    """The absolute limit stays with the session under a new id, and starts again for what is set after a flush."""
    expiry = Expiry.on_inactivity(timedelta(hours=10), at_most=timedelta(hours=5))
    manager = SessionManager(store, expiry=expiry, clock=clock)
    with manager.session() as session:
        session["user"] = "ada"
    clock.move(timedelta(hours=4))
    with manager.session(session.id) as session:
        session.cycle_id()
    assert store.load(session.id).expiry_date == clock() + timedelta(hours=1)
    with manager.session(session.id) as session:
        session.flush()
        session["user"] = "ada"
    assert store.load(session.id).expiry_date == clock() + timedelta(hours=5)


def test_deadline_is_not_data(store, clock):
    """A session whose only remaining key is its deadline ends."""
    manager = SessionManager(store, expiry=Expiry.on_inactivity(timedelta(1), at_most=timedelta(2)), clock=clock)
    with manager.session() as session:
        session["n"] = 1
    with manager.session(session.id) as session:
        del session["n"]
    assert store.count() == 0


@pytest.mark.parametrize("at_most", [None, timedelta(days=1)])
def test_invalid_deadline_is_ignored(store, clock, at_most):
    """Another program's value under the deadline's key is ignored."""
    record = store.create(Record(Id.new(), {DEADLINE: "tomorrow", "a": 1}, clock() + timedelta(hours=1)))
    manager = SessionManager(store, expiry=Expiry.on_inactivity(timedelta(hours=1), at_most=at_most), clock=clock)
    with manager.session(record.id) as session:
        session["a"] = 2
    assert store.load(record.id).expiry_date == clock() + timedelta(hours=1)


def test_huge_at_most(store, clock):
    """An `at_most` beyond the range of datetime ends in the year 9999."""
    manager = SessionManager(store, expiry=Expiry.on_inactivity(timedelta.max, at_most=timedelta.max), clock=clock)
    with manager.session() as session:
        session["a"] = 1
    assert store.load(session.id).expiry_date.year == 9999
