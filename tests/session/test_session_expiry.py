"""When a session expires: policies and deadlines."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from pausing import Pausing, finish

from sled_sessions import Expiry, Id, MemoryStore, Record, Session
from sled_sessions.records.reserved import RESERVED
from sled_sessions.session import SessionManager
from sled_sessions.session.commit import commit
from sled_sessions.testing import MovableClock


def test_expiry(clock):
    """expiry_date and expiry_age are those that a commit would write; a policy of None is the browser session."""
    session = Session(lambda: None, expiry=Expiry.on_inactivity(timedelta(hours=1)), clock=clock)
    assert session.expiry_date == clock() + timedelta(hours=1)
    assert session.expiry_age == timedelta(hours=1)
    session.expiry = Expiry.at(clock() - timedelta(hours=1))
    assert session.expiry_age == timedelta(0)
    assert session.is_modified
    session.expiry = None
    assert session.expiry == Expiry.on_inactivity(timedelta(hours=1))
    assert session.expiry_age == timedelta(hours=1)
    assert Session(lambda: None).expiry == Expiry.on_session_end()


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
@pytest.mark.parametrize(
    "kept",
    [
        "tomorrow",
        {"deadline": "tomorrow"},
        {"deadline": 1.5},
        {"expiry": {"idle": 0}},
        {"expiry": {"idle": 1, "at_most": -1}},
        {"expiry": []},
    ],
)
def test_invalid_reserved_map_is_ignored(store, clock, at_most, kept):
    """Another program's value under the reserved key is ignored."""
    record = store.create(Record(Id.new(), {RESERVED: kept, "a": 1}, clock() + timedelta(hours=1)))
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


HOUR, MONTH = timedelta(hours=1), timedelta(days=30)
REMEMBER_ME = Expiry.on_inactivity(MONTH)
HOURLY = Expiry.on_inactivity(HOUR)


def managed(store, clock, expiry=HOURLY):
    """A manager with a middleware's policy."""
    return SessionManager(store, expiry=expiry, clock=clock)


def test_own_policy_stays(store, clock):
    """A policy that is set is stored, and goes for every later save, also under a new id, until None is set."""
    with managed(store, clock).session() as session:
        session["user"] = "ada"
        session.expiry = REMEMBER_ME
    assert session.max_age == MONTH
    for change in (lambda it: it.update(n=1), lambda it: it.cycle_id(), lambda it: it.update(n=2)):
        clock.move(HOUR)
        with managed(store, clock).session(session.id) as session:
            assert session.expiry == REMEMBER_ME
            change(session)
        assert session.max_age == MONTH
        assert store.load(session.id).expiry_date == clock() + MONTH
        assert list(session) == ["user", "n"][: len(session)]
    with managed(store, clock).session(session.id) as session:
        session.expiry = None
    assert store.load(session.id).expiry_date == clock() + HOUR
    assert RESERVED not in store.load(session.id).data


@pytest.mark.parametrize(
    "policy",
    [
        Expiry.on_session_end(),
        Expiry.at(datetime(2031, 5, 1, tzinfo=UTC)),
        Expiry.on_inactivity(MONTH, at_most=10 * MONTH),
        Expiry.on_inactivity(timedelta.max),
    ],
)
def test_every_policy_is_stored(store, clock, policy):
    """Every kind of policy can be a session's own, and the cookie's Max-Age follows it."""
    with managed(store, clock).session() as session:
        session["n"] = 1
        session.expiry = policy
    with managed(store, clock).session(session.id) as session:
        session["n"] = 2
        assert session.expiry.expiry_date(clock()) == policy.expiry_date(clock())
        assert session.expiry.at_most == policy.at_most
    assert store.load(session.id).expiry_date == policy.expiry_date(clock())
    assert (session.max_age is None) == policy.ends_with_browser


def test_different_policy_replaces_the_limit(store, clock):
    """The middleware's absolute limit ends with a different policy, whose own one counts from then."""
    middleware = Expiry.on_inactivity(HOUR, at_most=8 * HOUR)
    with managed(store, clock, middleware).session() as session:
        session["n"] = 1
    clock.move(HOUR / 2)
    with managed(store, clock, middleware).session(session.id) as session:
        session.expiry = REMEMBER_ME
    assert store.load(session.id).expiry_date == clock() + MONTH
    with managed(store, clock, middleware).session(session.id) as session:
        session.expiry = Expiry.on_inactivity(MONTH, at_most=2 * MONTH)
    limit = clock() + 2 * MONTH
    for _ in range(3):
        clock.move(0.4 * MONTH)
        with managed(store, clock, middleware).session(session.id) as session:
            session["n"] += 1
            session.expiry = Expiry.on_inactivity(MONTH, at_most=2 * MONTH)  # equal, so the limit stays
    assert store.load(session.id).expiry_date == limit
    with managed(store, clock, middleware).session(session.id) as session:
        session.expiry = None
    clock.move(HOUR / 2)
    with managed(store, clock, middleware).session(session.id) as session:
        session["n"] += 1
    assert store.load(session.id).expiry_date == clock() + HOUR


def test_own_policy_equal_to_the_middlewares(store, clock):
    """Setting None removes an own policy that happens to equal the middleware's, which may change later."""
    with managed(store, clock, REMEMBER_ME).session() as session:
        session["n"] = 1
        session.expiry = HOURLY
    with managed(store, clock, HOURLY).session(session.id) as session:
        session.expiry = None
    with managed(store, clock, REMEMBER_ME).session(session.id) as session:
        session["n"] = 2
    assert store.load(session.id).expiry_date == clock() + MONTH


def test_moment_in_a_repeated_hour(store, clock):
    """A deadline in the hour that the end of daylight saving time repeats is equal to itself as it was stored."""
    moment = datetime(2030, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1)
    with managed(store, clock).session() as session:
        session["n"] = 1
        session.expiry = Expiry.at(moment)
    with managed(store, clock).session(session.id) as session:
        session.expiry = Expiry.at(moment)
        assert not session.is_modified
        assert session.expiry.deadline == datetime(2030, 10, 27, 1, 30, tzinfo=UTC)


def test_equal_policy_changes_nothing(store, clock):
    """Setting the policy that a session has, the middleware's or its own, writes nothing."""
    with managed(store, clock).session() as session:
        session["n"] = 1
    before = store.load(session.id)
    clock.move(HOUR / 2)
    with managed(store, clock).session(session.id) as session:
        session.expiry = Expiry.on_inactivity(HOUR)
        assert not session.is_modified
    assert store.load(session.id).expiry_date == before.expiry_date


def test_touch_after_spares_shorter_policies(store, clock):
    """`touch_after` is ignored for a session whose own idle time is not longer, which would expire in between."""
    with managed(store, clock, REMEMBER_ME).session() as session:
        session["n"] = 1
        session.expiry = Expiry.on_inactivity(HOUR)
    clock.move(HOUR / 2)
    for touch_after, moves in ((2 * HOUR, True), (HOUR, True), (0.9 * HOUR, False)):
        before = store.load(session.id).expiry_date
        opened = managed(store, clock, REMEMBER_ME).open(session.id)
        clock.move(HOUR / 60)
        finish(commit(opened, Pausing(store), always_save=True, touch_after=touch_after))
        assert (store.load(session.id).expiry_date > before) == moves


def test_policies_of_concurrent_requests(store, clock):
    """A save by a request that began earlier keeps the policy that another one has stored meanwhile."""
    with managed(store, clock).session() as session:
        session["n"] = 1
    slow = managed(store, clock).open(session.id)
    slow["m"] = 1
    with managed(store, clock).session(session.id) as session:
        session.expiry = REMEMBER_ME
    managed(store, clock).commit(slow)
    assert store.load(session.id).expiry_date == clock() + MONTH
    assert slow.max_age == MONTH


def test_policy_ends_with_the_session(store, clock):
    """What is set after a flush is a new session under the middleware's policy."""
    with managed(store, clock).session() as session:
        session["n"] = 1
        session.expiry = REMEMBER_ME
    with managed(store, clock).session(session.id) as session:
        session.flush()
        session["n"] = 1
    assert store.load(session.id).expiry_date == clock() + HOUR


@pytest.mark.parametrize("start", [datetime(2026, 3, 29, 0, 30, tzinfo=UTC), datetime(2026, 10, 25, 0, 30, tzinfo=UTC)])
@pytest.mark.parametrize("hours", [1, 2])
def test_daylight_saving_time(start, hours):
    """On a clock in a local zone, an hour is an hour over both changes of daylight saving time."""
    clock = MovableClock(start)
    local = MemoryStore(clock=lambda: clock().astimezone(ZoneInfo("Europe/Berlin")))
    idle = timedelta(hours=hours)
    with SessionManager(local, expiry=Expiry.on_inactivity(idle)).session() as session:
        session["n"] = 1
    assert session.max_age == idle
    assert session.expiry_date - start == idle
    assert local.load(session.id).expiry_date - start == idle
    clock.move(idle)
    assert local.load(session.id) is None
