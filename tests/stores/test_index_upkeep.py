"""What the index of a SledStore holds after each write, and what a look at it tells."""

from datetime import timedelta

import attrs
import msgspec
import pytest

from sled_sessions import (
    BackendError,
    SledStore,
    SweepStrategy,
)
from sled_sessions.operate import count_expired
from sled_sessions.stores.sweep import PROGRESS_STEP

STRATEGIES = pytest.mark.parametrize("strategy", list(SweepStrategy), ids=lambda strategy: strategy.value)


@pytest.fixture
def store(tree, clock):
    return SledStore(tree, clock=clock)


def _index(store):
    return store.tree.db.open_tree(store.tree.name + b":expiry")


def test_one_entry_for_each_record(store, clock, new_record):
    """Whatever is created, prolonged, shortened and deleted, the index holds one entry for each record."""
    records = [new_record(seconds) for seconds in (10, 20, 30, 40)]
    store.create(records[0])
    store.save(records[1])
    store.save(attrs.evolve(records[1], expiry_date=new_record(5000).expiry_date))
    store.save(records[2])
    store.update(records[2].id, lambda now: attrs.evolve(now, expiry_date=new_record(1).expiry_date))
    store.save(records[3])
    store.delete(records[3].id)
    entries = sorted(entry[8:] for entry, _ in _index(store))
    assert entries == sorted(record.id.key for record in records[:3])
    assert store.verify_index()


def test_no_record_without_its_entry(store, tree, new_record):
    """When the index cannot be written the record is not written either: create, save and update fail as a whole."""
    known, new = new_record(60, n=1), new_record(60)
    store.save(known)
    tree.db.drop_tree("session:expiry")
    later = attrs.evolve(known, expiry_date=new_record(1000).expiry_date)
    for write in (
        lambda: store.create(new),
        lambda: store.save(new),
        lambda: store.save(later),
        lambda: store.update(known.id, lambda now: later),
    ):
        with pytest.raises(BackendError):
            write()
    assert list(tree) == [(known.id.key, known.encode())]


def test_saves_within_a_step_leave_the_index_alone(db, clock, new_record):
    """Two saves whose expiries lie in one step write to the index once."""
    store = SledStore(db.open_tree("session"), resolution=timedelta(minutes=1), clock=clock)
    record = new_record(10)
    store.save(record)
    with _index(store).watch() as events:
        store.save(attrs.evolve(record, expiry_date=new_record(11).expiry_date))
        assert events.get(timeout=0.05) is None
        store.save(attrs.evolve(record, expiry_date=new_record(100).expiry_date))
        assert events.get(timeout=5) is not None


def test_an_index_sweep_looks_at_what_is_due_only(store, new_record):
    """A sweep by the index examines the expired entries and those of the running step, and no others."""
    for seconds in (-100, -50, 0.5, *range(100, 200)):
        store.save(new_record(seconds))
    report = store.delete_expired()
    assert (report.examined, report.deleted) == (3, 2)
    assert store.delete_expired(SweepStrategy.FULL_SCAN).examined == 101


def test_a_full_scan_keeps_the_index_right(store, new_record):
    """Sweeping an indexed store by full scan takes the entries along."""
    for seconds in (-100, -50, 100):
        store.save(new_record(seconds))
    assert store.delete_expired(SweepStrategy.FULL_SCAN).deleted == 2
    assert store.verify_index()
    assert store.verify_index().entries == 1


def test_verify_finds_what_is_wrong(store, tree, new_record):
    """Records written or removed past the store are counted as missing and stale; a rebuild puts that right."""
    kept, gone, foreign = new_record(), new_record(), new_record()
    store.save(kept)
    store.save(gone)
    tree.remove(gone.id.key)
    tree.insert(foreign.id.key, foreign.encode())
    report = store.verify_index()
    assert not report
    assert (report.records, report.entries, report.missing, report.stale) == (2, 2, 1, 1)
    assert store.rebuild_index()
    assert store.verify_index()
    assert store.verify_index().entries == 2


def test_a_sweep_drops_stale_entries(store, tree, clock, new_record):
    """An entry whose record is gone, or has moved on, is dropped when a sweep meets it, and nothing else is."""
    gone, moved = new_record(10), new_record(10)
    store.save(gone)
    store.save(moved)
    tree.remove(gone.id.key)
    tree.insert(moved.id.key, attrs.evolve(moved, expiry_date=new_record(1000).expiry_date).encode())
    clock.advance(seconds=20)
    assert store.delete_expired().deleted == 0
    assert store.load(moved.id) is not None
    assert list(_index(store)) == []


@pytest.mark.parametrize("entry", [b"", b"short", b"\0" * 30])
def test_what_is_no_entry_is_stale(store, tree, new_record, entry):
    """Something else in the index's tree stops nothing: it is counted, passed over, and dropped by a sweep."""
    record = new_record()
    store.save(record)
    _index(store).insert(entry, b"")
    assert store.first_expiry() == record.expiry_date.replace(microsecond=0)
    assert [id for _, id in store.expiring()] == [record.id]
    assert store.verify_index().stale == 1
    store.delete_expired()
    assert store.verify_index().entries == 1


def test_a_record_without_an_id_for_a_key_is_unreadable(store, tree, new_record):
    """What lies under another key than an id's has no entry, and is counted with what cannot be read."""
    tree.insert(b"short", new_record().encode())
    assert store.rebuild_index().undecodable == 1
    assert store.verify_index()
    assert store.verify_index().undecodable == 1


@STRATEGIES
def test_a_record_without_an_id_for_a_key_is_not_due(tree, clock, new_record, strategy):
    """Nor is it among the sessions that expire: no id leads to it."""
    record = new_record(60)
    tree.insert(b"short", new_record(30).encode())
    store = SledStore(tree, strategy=strategy, clock=clock)
    store.save(record)
    assert [id for _, id in store.expiring()] == [record.id]
    assert store.first_expiry().replace(microsecond=0) == record.expiry_date.replace(microsecond=0)


@STRATEGIES
def test_no_sweep_deletes_what_is_no_session(tree, clock, new_record, strategy):
    """An expired record under a key that is no id stays, however one sweeps, and a full scan counts it."""
    store = SledStore(tree, clock=clock)
    tree.insert(b"short", new_record(-1).encode())
    expected = count_expired(store, strategy)
    report = store.delete_expired(strategy)
    assert (report.deleted, report.undecodable) == (0, strategy is SweepStrategy.FULL_SCAN)
    assert (expected.deleted, expected.undecodable) == (report.deleted, report.undecodable)
    assert b"short" in tree


def test_a_store_as_it_is(db, clock, new_record):
    """Looking at an index that lost its entries, or was never built to the end, changes nothing, and says so."""
    tree = db.open_tree("session")
    store = SledStore(tree, resolution=timedelta(minutes=1))
    for _ in range(3):
        store.save(new_record())
    del store
    entries = db.open_tree("session:expiry")
    entries.pop_min()
    seen = SledStore.as_it_is(tree)
    assert seen.resolution == timedelta(minutes=1)
    assert seen.verify_index().missing == 1
    del seen

    def mark(**marker):
        db.open_tree("session:meta").insert(b"expiry_index", msgspec.msgpack.encode(marker))

    for change in (
        lambda: mark(version=1, resolution_us=0),
        lambda: mark(version=2, resolution_us=60_000_000),
        lambda: (mark(version=1, resolution_us=60_000_000), entries.clear()),
        lambda: db.drop_tree("session:expiry"),
        lambda: db.drop_tree("session:meta"),
    ):
        change()
        before = db.checksum()
        assert SledStore.as_it_is(tree).delete_expired().strategy is SweepStrategy.FULL_SCAN
        assert db.checksum() == before


def test_a_store_as_it_is_beside_another(tree, clock, new_record):
    """Looking at a tree changes nothing of what a store of the same process keeps, whatever that is at."""
    store = SledStore(tree, clock=clock)
    for _ in range(PROGRESS_STEP):
        store.save(new_record())

    def interrupt(done, total):  # when every entry is written, and the index not yet marked as whole
        assert len(_index(store)) == done == PROGRESS_STEP
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.rebuild_index(interrupt)
    assert SledStore.as_it_is(tree).resolution is None
    assert store.rebuild_index().entries == PROGRESS_STEP
    assert SledStore.as_it_is(tree).verify_index().entries == PROGRESS_STEP


def test_entries_of_records_that_were_dropped(db, clock, new_record):
    """What a dropped tree of records has left in the index is gone when a store opens the next one of that name."""
    SledStore(db.open_tree("session"), clock=clock).save(new_record())
    db.drop_tree("session")
    store = SledStore(db.open_tree("session"), clock=clock)
    assert list(store.expiring()) == []
    assert store.verify_index()


def test_verify_beside_a_store_of_another_resolution(store, tree, clock, new_record):
    """An index that another store builds anew while it is compared with the records is not taken for a wrong one."""
    for _ in range(2500):
        store.save(new_record())
    others = []

    def progress(done, total):
        others.append(SledStore(tree, resolution=timedelta(minutes=len(others) + 1), clock=clock))

    report = store.verify_index(progress)
    assert report, report
    assert len(others) > 1
