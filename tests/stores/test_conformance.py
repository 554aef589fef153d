"""What every store must do."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import attrs
import pytest
from sessions import increment

from sled_sessions import DELETE, EncodeError, Id, SessionStore, SweepStrategy
from sled_sessions.stores.protocol import RotationMarks


def test_is_a_session_store(store):
    """Each store implements the whole protocol."""
    assert isinstance(store, SessionStore)


def test_save_and_load(store, new_record):
    """A saved session loads as an equal record, repeatedly."""
    record = new_record(user="ada", cart=[{"sku": "a", "qty": 2}], n=1.5, nothing=None)
    store.save(record)
    assert store.load(record.id) == record
    assert store.load(record.id) == record


def test_unknown_id(store):
    """An unknown id loads as None, deletes as False and updates as None."""
    assert store.load(Id.new()) is None
    assert store.delete(Id.new()) is False
    assert store.update(Id.new(), lambda record: pytest.fail("called")) is None


def test_save_replaces(store, new_record):
    """Saving a known session replaces its data and expiry."""
    record = new_record(60, n=1)
    store.save(record)
    changed = attrs.evolve(record, data={"m": 2}, expiry_date=new_record(90).expiry_date)
    store.save(changed)
    assert store.load(record.id) == changed


def test_create_keeps_a_free_id(store, new_record):
    """A new session keeps its id if the id is free."""
    record = new_record(n=1)
    assert store.create(record) == record
    assert store.load(record.id) == record


def test_create_never_overwrites(store, new_record):
    """A new session whose id is taken gets another id; the old session, even if expired, stays unchanged."""
    first, expired = new_record(n=1), new_record(-1, n=2)
    store.save(first)
    store.save(expired)
    for taken in (first, expired):
        created = store.create(attrs.evolve(new_record(n=3), id=taken.id))
        assert created.id != taken.id
        assert store.load(created.id).data == {"n": 3}
    assert store.load(first.id) == first
    assert store.load(expired.id) is None


def test_store_keeps_copies(store, new_record):
    """Changing a record after saving or loading it does not change the store."""
    record = new_record(items=[1])
    store.save(record)
    record.data["items"].append(2)
    store.load(record.id).data["items"].append(3)
    assert store.load(record.id).data == {"items": [1]}


def test_expired_session_is_not_loaded(store, clock, new_record):
    """A session loads until the moment it expires, and not from that moment on."""
    record = new_record(10)
    store.save(record)
    clock.move(timedelta(seconds=9.999999))
    assert store.load(record.id) == record
    clock.move(timedelta(microseconds=1))
    assert store.load(record.id) is None
    assert store.update(record.id, lambda record: record) is None


def test_delete(store, new_record):
    """A deleted session is gone, and deleting it again returns False."""
    record = new_record()
    store.save(record)
    assert store.delete(record.id) is True
    assert store.load(record.id) is None
    assert store.delete(record.id) is False


def test_update(store, new_record):
    """`update` passes the stored record to the function, then stores and returns the result."""
    record = new_record(n=1)
    store.save(record)
    later = new_record(90).expiry_date
    updated = store.update(record.id, lambda now: attrs.evolve(now, data={"n": now.data["n"] + 1}, expiry_date=later))
    assert updated == attrs.evolve(record, data={"n": 2}, expiry_date=later)
    assert store.load(record.id) == updated


def test_update_that_raises_changes_nothing(store, new_record):
    """An exception from the function is raised, and the session stays unchanged."""
    record = new_record(n=1)
    store.save(record)

    def change(now):
        now.data["n"] = 2
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.update(record.id, change)
    assert store.load(record.id) == record


def test_update_with_seen(store, clock, new_record):
    """An update with `seen` starts from the stored record, even if another writer has changed or deleted it since."""
    record = new_record(10, n=1)
    store.save(record)
    seen = store.load(record.id)
    assert store.update(record.id, increment, seen=seen).data == {"n": 2}
    assert store.update(record.id, increment, seen=seen).data == {"n": 3}
    assert store.update(record.id, increment, seen=record).data == {"n": 4}
    assert store.load(record.id).data == {"n": 4}
    clock.move(timedelta(seconds=10))
    assert store.update(record.id, increment, seen=seen) is None
    store.delete(record.id)
    assert store.update(record.id, increment, seen=seen) is None
    assert store.load(record.id) is None


def test_error_on_an_outdated_record(store, new_record):
    """A change that fails only on the outdated `seen` record is retried on the stored one."""
    record = new_record(n=0)
    store.save(record)
    seen = store.load(record.id)
    store.update(record.id, lambda now: attrs.evolve(now, data={"n": 2}))

    def divide(now):
        return attrs.evolve(now, data={"n": 6 // now.data["n"]})

    assert store.update(record.id, divide, seen=seen).data == {"n": 3}


@pytest.mark.parametrize("change", [lambda record: None, lambda record: attrs.evolve(record, id=Id.new())])
def test_update_refuses_other_results(store, new_record, change):
    """A function that returns None or another session's record is refused, and nothing is written."""
    record = new_record(n=1)
    store.save(record)
    with pytest.raises(EncodeError, match="update"):
        store.update(record.id, change)
    assert store.load(record.id) == record


def test_concurrent_updates(store, new_record):
    """Concurrent updates of one session are all applied."""
    record = new_record(n=0)
    store.save(record)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: store.update(record.id, increment), range(400)))
    assert store.load(record.id).data == {"n": 400}


def test_update_that_ends_a_session(store, new_record):
    """Of concurrent updates that move the expiry into the past, one returns what it wrote, and the others None."""
    past = new_record(-3600).expiry_date
    for _ in range(20):
        record = new_record(n=0)
        store.save(record)
        with ThreadPoolExecutor(4) as pool:
            ends = [
                pool.submit(store.update, record.id, lambda now: attrs.evolve(now, expiry_date=past)) for _ in "1234"
            ]
        assert [end.result().expiry_date for end in ends if end.result() is not None] == [past]
        assert store.load(record.id) is None


def test_unencodable_data_changes_nothing(store, new_record):
    """Data that JSON cannot represent is refused by create, save and update, and the session stays unchanged."""
    record = new_record(n=1)
    store.save(record)
    bad = attrs.evolve(record, data={"n": object()})
    for write in (
        lambda: store.create(attrs.evolve(bad, id=Id.new())),
        lambda: store.save(bad),
        lambda: store.update(record.id, lambda now: bad),
    ):
        with pytest.raises(EncodeError, match=r"data\['n'\]"):
            write()
    assert store.load(record.id) == record


@pytest.mark.usefixtures("sweeps")
def test_delete_expired(store, clock, new_record):
    """A sweep deletes exactly the sessions that have expired, to the microsecond."""
    records = [new_record(seconds) for seconds in (-100, -1, -0.000001, 0, 0.000001, 0.5, 100)]
    for record in records:
        store.save(record)
    report = store.delete_expired()
    assert (report.deleted, report.undecodable, report.complete) == (4, 0, True)
    assert [store.load(record.id) is not None for record in records] == [False] * 4 + [True] * 3
    assert store.delete_expired().deleted == 0
    clock.move(timedelta(seconds=200))
    assert store.delete_expired().deleted == 3


@pytest.mark.usefixtures("sweeps")
def test_delete_expired_at_another_moment(store, new_record):
    """`now` sets the moment of the sweep independently of the clock."""
    record = new_record(10)
    store.save(record)
    assert store.delete_expired(now=new_record(9).expiry_date).deleted == 0
    assert store.delete_expired(now=new_record(10).expiry_date).deleted == 1
    assert store.load(record.id) is None


@pytest.mark.usefixtures("sweeps")
def test_prolonged_session(store, clock, new_record):
    """A session whose expiry was moved is swept at the new expiry and not at the old one."""
    record = new_record(10)
    store.save(record)
    store.update(record.id, lambda now: attrs.evolve(now, expiry_date=new_record(1000).expiry_date))
    clock.move(timedelta(seconds=500))
    assert store.delete_expired().deleted == 0
    assert store.load(record.id) is not None
    clock.move(timedelta(seconds=500))
    assert store.delete_expired().deleted == 1


@pytest.mark.usefixtures("sweeps")
@pytest.mark.parametrize("strategy", [None, *SweepStrategy])
def test_limited_sweeps(store, new_record, strategy):
    """A limit ends a sweep early, and the following sweeps delete the rest, with either strategy."""
    live, expired = [new_record(60) for _ in range(20)], [new_record(-60) for _ in range(20)]
    for record in live + expired:
        store.save(record)
    reports = [store.delete_expired(strategy, limit=8) for _ in range(3)]
    assert [report.deleted for report in reports] == [8, 8, 4]
    assert [report.complete for report in reports] == [False, False, True]
    assert all(store.load(record.id) for record in live)


@pytest.mark.usefixtures("sweeps")
def test_on_expired(store, new_record):
    """`on_expired` gets each deleted record once, complete."""
    expired = [new_record(-1, n=n) for n in range(5)]
    for record in [*expired, new_record(1)]:
        store.save(record)
    seen = []
    store.delete_expired(on_expired=seen.append)
    assert sorted(seen, key=lambda record: record.id) == sorted(expired, key=lambda record: record.id)


@pytest.mark.usefixtures("sweeps")
def test_dry_run(store, new_record):
    """A dry run reports what a sweep would delete, deletes nothing and calls no callback."""
    for record in [new_record(-1, n=n) for n in range(5)] + [new_record(60)]:
        store.save(record)
    report = store.delete_expired(dry_run=True, on_expired=lambda record: pytest.fail("called"))
    assert (report.deleted, report.complete) == (5, True)
    assert store.delete_expired(dry_run=True, limit=2).deleted == 2
    assert store.delete_expired().deleted == 5


def test_update_that_returns_delete(store, new_record):
    """A change that returns DELETE removes the session in the same step, with and without `seen`."""
    for seen in (False, True):
        record = new_record(n=1)
        store.save(record)
        loaded = store.load(record.id) if seen else None
        assert store.update(record.id, lambda now: DELETE, seen=loaded) is None
        assert store.load(record.id) is None
        assert store.delete(record.id) is False


def test_delete_on_an_outdated_record(store, new_record):
    """A change that would delete the outdated `seen` record is applied to the stored one instead."""
    record = new_record(n=0)
    store.save(record)
    seen = store.load(record.id)
    store.update(record.id, increment)
    updated = store.update(record.id, lambda now: now if now.data["n"] else DELETE, seen=seen)
    assert updated.data == store.load(record.id).data == {"n": 1}


def test_seen_from_an_update(store, new_record):
    """The record that an update returns can be passed to the next one as `seen`."""
    record = new_record(n=0)
    store.save(record)
    first = store.update(record.id, increment)
    assert store.update(record.id, increment, seen=first).data == {"n": 2}
    assert store.update(record.id, increment, seen=first).data == {"n": 3}


@pytest.mark.usefixtures("sweeps")
def test_callback_that_raises(store, new_record):
    """An exception from `on_expired` ends the sweep and is raised; the next sweep deletes the rest."""
    for _ in range(5):
        store.save(new_record(-1))

    def listener(record):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.delete_expired(on_expired=listener)
    assert store.delete_expired().deleted == 4


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"limit": 0}, ValueError, "at least 1"),
        ({"limit": -1}, ValueError, "at least 1"),
        ({"budget": 5}, TypeError, "timedelta"),
        ({"strategy": "nonsense"}, ValueError, "nonsense"),
    ],
)
def test_invalid_sweep_options(store, options, error, words):
    """A limit below 1, a budget that is not a timedelta and an unknown strategy are refused."""
    with pytest.raises(error, match=words):
        store.delete_expired(**options)


def test_naive_now_is_refused(store):
    """A naive `now` is refused."""
    with pytest.raises(EncodeError, match="time zone"):
        store.delete_expired(now=datetime(2030, 1, 1))


def test_repr_reveals_no_session(store, new_record):
    """The repr of a store contains neither ids nor values."""
    record = new_record(password="hunter2")
    store.save(record)
    assert "hunter2" not in repr(store)
    assert str(record.id) not in repr(store)


@pytest.fixture
def marking(store):
    """The store, if it keeps marks of changed ids."""
    if not isinstance(store, RotationMarks):
        pytest.skip("keeps no marks of changed ids")
    return store


def test_mark_of_a_changed_id(marking, clock, new_record):
    """A mark lasts until its moment and not from that moment on; other ids have none, and a later mark replaces it."""
    id = Id.new()
    assert marking.was_rotated(id) is False
    marking.mark_rotated(id, clock() + timedelta(seconds=10))
    assert marking.was_rotated(id) is True
    assert marking.was_rotated(Id.new()) is False
    clock.move(timedelta(seconds=9.999999))
    assert marking.was_rotated(id) is True
    clock.move(timedelta(microseconds=1))
    assert marking.was_rotated(id) is False
    marking.mark_rotated(id, clock() + timedelta(seconds=10))
    assert marking.was_rotated(id) is True


def test_mark_is_no_session(marking, clock, new_record):
    """A marked id loads, updates and deletes as an unknown one, and no sweep counts it."""
    id = Id.new()
    marking.mark_rotated(id, clock() + timedelta(seconds=10))
    assert marking.load(id) is None
    assert marking.update(id, lambda record: pytest.fail("called")) is None
    assert marking.delete(id) is False
    clock.move(timedelta(seconds=20))
    report = marking.delete_expired()
    assert (report.examined, report.deleted, report.undecodable) == (0, 0, 0)


def test_session_under_a_marked_id(marking, clock, new_record):
    """A mark neither ends a session nor keeps one from being stored: it is written before the old record goes."""
    store, record = marking, new_record(n=1)
    store.save(record)
    store.mark_rotated(record.id, clock() + timedelta(seconds=10))
    assert store.load(record.id) == record
    assert store.update(record.id, increment).data == {"n": 2}
    assert store.delete(record.id) is True
    assert store.was_rotated(record.id) is True


def test_mark_with_a_naive_moment(marking):
    """A naive moment is refused, and so is what is not an id."""
    with pytest.raises(EncodeError, match="time zone"):
        marking.mark_rotated(Id.new(), datetime(2030, 1, 1))
    for call in (marking.was_rotated, lambda id: marking.mark_rotated(id, datetime(2030, 1, 1, tzinfo=UTC))):
        with pytest.raises(TypeError, match="Id"):
            call("AAAAAAAAAAAAAAAAAAAAAA")
