"""What every store does, whatever it is made of."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import attrs
import pytest
from sessions import increment

from sled_sessions import DELETE, EncodeError, Id, SessionStore, SweepStrategy


def test_is_a_session_store(store):
    """Each store has the whole contract."""
    assert isinstance(store, SessionStore)


def test_a_saved_session_is_loaded(store, new_record):
    """What was saved comes back equal, and again."""
    record = new_record(user="ada", cart=[{"sku": "a", "qty": 2}], n=1.5, nothing=None)
    store.save(record)
    assert store.load(record.id) == record
    assert store.load(record.id) == record


def test_a_session_that_is_not_there(store):
    """An unknown id loads as None, deletes as false and updates as None."""
    assert store.load(Id.new()) is None
    assert store.delete(Id.new()) is False
    assert store.update(Id.new(), lambda record: pytest.fail("called")) is None


def test_save_replaces(store, new_record):
    """Saving a known session replaces data and expiry."""
    record = new_record(60, n=1)
    store.save(record)
    changed = attrs.evolve(record, data={"m": 2}, expiry_date=new_record(90).expiry_date)
    store.save(changed)
    assert store.load(record.id) == changed


def test_create_keeps_a_free_id(store, new_record):
    """A new session keeps its id when nobody has it."""
    record = new_record(n=1)
    assert store.create(record) == record
    assert store.load(record.id) == record


def test_create_never_overwrites(store, new_record):
    """A new session whose id is taken gets another one; the old session stays as it was, even an expired one."""
    first, expired = new_record(n=1), new_record(-1, n=2)
    store.save(first)
    store.save(expired)
    for taken in (first, expired):
        created = store.create(attrs.evolve(new_record(n=3), id=taken.id))
        assert created.id != taken.id
        assert store.load(created.id).data == {"n": 3}
    assert store.load(first.id) == first
    assert store.load(expired.id) is None


def test_the_store_holds_copies(store, new_record):
    """Changing a record after it was saved, or after it was loaded, does not change the store."""
    record = new_record(items=[1])
    store.save(record)
    record.data["items"].append(2)
    store.load(record.id).data["items"].append(3)
    assert store.load(record.id).data == {"items": [1]}


def test_an_expired_session_is_not_loaded(store, clock, new_record):
    """A session is there until the moment it expires, and not from that moment on."""
    record = new_record(10)
    store.save(record)
    clock.advance(seconds=9.999999)
    assert store.load(record.id) == record
    clock.advance(microseconds=1)
    assert store.load(record.id) is None
    assert store.update(record.id, lambda record: record) is None


def test_delete(store, new_record):
    """A deleted session is gone, and a second delete says that there was none."""
    record = new_record()
    store.save(record)
    assert store.delete(record.id) is True
    assert store.load(record.id) is None
    assert store.delete(record.id) is False


def test_update(store, new_record):
    """Update hands the stored record to the function, and stores and returns what it makes of it."""
    record = new_record(n=1)
    store.save(record)
    later = new_record(90).expiry_date
    updated = store.update(record.id, lambda now: attrs.evolve(now, data={"n": now.data["n"] + 1}, expiry_date=later))
    assert updated == attrs.evolve(record, data={"n": 2}, expiry_date=later)
    assert store.load(record.id) == updated


def test_update_that_raises_changes_nothing(store, new_record):
    """An exception from the function comes through, and the session stays as it was."""
    record = new_record(n=1)
    store.save(record)

    def change(now):
        now.data["n"] = 2
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.update(record.id, change)
    assert store.load(record.id) == record


def test_an_update_of_what_was_seen(store, clock, new_record):
    """A change that brings along a loaded record starts from what is stored, whoever has written since."""
    record = new_record(10, n=1)
    store.save(record)
    seen = store.load(record.id)
    assert store.update(record.id, increment, seen=seen).data == {"n": 2}
    assert store.update(record.id, increment, seen=seen).data == {"n": 3}
    assert store.update(record.id, increment, seen=record).data == {"n": 4}
    assert store.load(record.id).data == {"n": 4}
    clock.advance(seconds=10)
    assert store.update(record.id, increment, seen=seen) is None
    store.delete(record.id)
    assert store.update(record.id, increment, seen=seen) is None
    assert store.load(record.id) is None


def test_an_error_over_what_was_seen_and_is_no_longer(store, new_record):
    """A change that only an older state makes impossible is made on what is stored now."""
    record = new_record(n=0)
    store.save(record)
    seen = store.load(record.id)
    store.update(record.id, lambda now: attrs.evolve(now, data={"n": 2}))

    def divide(now):
        return attrs.evolve(now, data={"n": 6 // now.data["n"]})

    assert store.update(record.id, divide, seen=seen).data == {"n": 3}


@pytest.mark.parametrize("change", [lambda record: None, lambda record: attrs.evolve(record, id=Id.new())])
def test_update_refuses_what_is_not_this_session(store, new_record, change):
    """A function that returns no record, or another session's, is refused, and nothing is written."""
    record = new_record(n=1)
    store.save(record)
    with pytest.raises(EncodeError, match="update"):
        store.update(record.id, change)
    assert store.load(record.id) == record


def test_updates_do_not_lose_each_other(store, new_record):
    """Of many updates at once on one session, none is lost."""
    record = new_record(n=0)
    store.save(record)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: store.update(record.id, increment), range(400)))
    assert store.load(record.id).data == {"n": 400}


def test_what_cannot_be_encoded_changes_nothing(store, new_record):
    """A value that JSON has not is refused by create, save and update, and the stored session stays as it was."""
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
def test_delete_expired_deletes_the_expired(store, clock, new_record):
    """A sweep deletes the sessions that have expired at its moment, to the microsecond, and no other."""
    records = [new_record(seconds) for seconds in (-100, -1, -0.000001, 0, 0.000001, 0.5, 100)]
    for record in records:
        store.save(record)
    report = store.delete_expired()
    assert (report.deleted, report.undecodable, report.complete) == (4, 0, True)
    assert [store.load(record.id) is not None for record in records] == [False] * 4 + [True] * 3
    assert store.delete_expired().deleted == 0
    clock.advance(seconds=200)
    assert store.delete_expired().deleted == 3


@pytest.mark.usefixtures("sweeps")
def test_delete_expired_at_another_moment(store, new_record):
    """`now` moves the sweep's moment without moving the clock."""
    record = new_record(10)
    store.save(record)
    assert store.delete_expired(now=new_record(9).expiry_date).deleted == 0
    assert store.delete_expired(now=new_record(10).expiry_date).deleted == 1
    assert store.load(record.id) is None


@pytest.mark.usefixtures("sweeps")
def test_a_prolonged_session_is_not_swept(store, clock, new_record):
    """A session whose expiry moved on is swept when the new one is due, not when the old one was."""
    record = new_record(10)
    store.save(record)
    store.update(record.id, lambda now: attrs.evolve(now, expiry_date=new_record(1000).expiry_date))
    clock.advance(seconds=500)
    assert store.delete_expired().deleted == 0
    assert store.load(record.id) is not None
    clock.advance(seconds=500)
    assert store.delete_expired().deleted == 1


@pytest.mark.usefixtures("sweeps")
@pytest.mark.parametrize("strategy", [None, *SweepStrategy])
def test_a_sweep_in_parts(store, new_record, strategy):
    """A limit ends a sweep early, and those that follow delete the rest, whatever the strategy."""
    live, expired = [new_record(60) for _ in range(20)], [new_record(-60) for _ in range(20)]
    for record in live + expired:
        store.save(record)
    reports = [store.delete_expired(strategy, limit=8) for _ in range(3)]
    assert [report.deleted for report in reports] == [8, 8, 4]
    assert [report.complete for report in reports] == [False, False, True]
    assert all(store.load(record.id) for record in live)


@pytest.mark.usefixtures("sweeps")
def test_on_expired(store, new_record):
    """The sweep's listener gets each deleted record, whole, once."""
    expired = [new_record(-1, n=n) for n in range(5)]
    for record in [*expired, new_record(1)]:
        store.save(record)
    seen = []
    store.delete_expired(on_expired=seen.append)
    assert sorted(seen, key=lambda record: record.id) == sorted(expired, key=lambda record: record.id)


@pytest.mark.usefixtures("sweeps")
def test_dry_run(store, new_record):
    """A dry run reports what a sweep would delete, and deletes and announces nothing."""
    for record in [new_record(-1, n=n) for n in range(5)] + [new_record(60)]:
        store.save(record)
    report = store.delete_expired(dry_run=True, on_expired=lambda record: pytest.fail("called"))
    assert (report.deleted, report.complete) == (5, True)
    assert store.delete_expired(dry_run=True, limit=2).deleted == 2
    assert store.delete_expired().deleted == 5


def test_delete_in_an_update(store, new_record):
    """A change that returns DELETE removes the session in the same step, whether it brings a loaded record or not."""
    for seen in (False, True):
        record = new_record(n=1)
        store.save(record)
        loaded = store.load(record.id) if seen else None
        assert store.update(record.id, lambda now: DELETE, seen=loaded) is None
        assert store.load(record.id) is None
        assert store.delete(record.id) is False


def test_delete_decided_on_a_stale_record(store, new_record):
    """A change that would delete the record it has seen is applied to what is stored by then."""
    record = new_record(n=0)
    store.save(record)
    seen = store.load(record.id)
    store.update(record.id, increment)
    updated = store.update(record.id, lambda now: now if now.data["n"] else DELETE, seen=seen)
    assert updated.data == store.load(record.id).data == {"n": 1}


def test_version_of_an_updated_record(store, new_record):
    """The record that an update returns can be brought along to the next one."""
    record = new_record(n=0)
    store.save(record)
    first = store.update(record.id, increment)
    assert store.update(record.id, increment, seen=first).data == {"n": 2}
    assert store.update(record.id, increment, seen=first).data == {"n": 3}


@pytest.mark.usefixtures("sweeps")
def test_a_listener_that_raises(store, new_record):
    """What the listener raises ends the sweep and comes through; the sessions not yet met stay for the next sweep."""
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
def test_a_sweep_that_cannot_be_is_refused(store, options, error, words):
    """A sweep that may delete nothing would never end: it is refused, like a bare number of seconds or no strategy."""
    with pytest.raises(error, match=words):
        store.delete_expired(**options)


def test_naive_moments_are_refused(store):
    """A sweep at a naive moment is refused."""
    with pytest.raises(EncodeError, match="time zone"):
        store.delete_expired(now=datetime(2030, 1, 1))


def test_repr_shows_no_session(store, new_record):
    """The repr of a store shows neither ids nor values."""
    record = new_record(password="hunter2")
    store.save(record)
    assert "hunter2" not in repr(store)
    assert str(record.id) not in repr(store)
