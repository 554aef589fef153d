"""The index after each write, and what verifying it or looking at it reports."""

from datetime import timedelta

import attrs
import msgspec
import pytest
from stores.indexes import STRATEGIES, index_tree

from sled_sessions import BackendError, SledStore, SweepStrategy
from sled_sessions.stores.sweep import PROGRESS_STEP


@pytest.fixture
def store(tree, clock):
    return SledStore(tree, clock=clock)


def test_one_entry_for_each_record(store, clock, new_record):
    """After creates, deletes and changes of expiry the index holds exactly one entry for each record."""
    records = [new_record(seconds) for seconds in (10, 20, 30, 40)]
    store.create(records[0])
    store.save(records[1])
    store.save(attrs.evolve(records[1], expiry_date=new_record(5000).expiry_date))
    store.save(records[2])
    store.update(records[2].id, lambda now: attrs.evolve(now, expiry_date=new_record(1).expiry_date))
    store.save(records[3])
    store.delete(records[3].id)
    entries = sorted(entry[8:] for entry, _ in index_tree(store))
    assert entries == sorted(record.id.key for record in records[:3])
    assert store.verify_index()


def test_failed_index_write_writes_no_record(store, tree, new_record):
    """When the index cannot be written, create, save and update raise and write no record either."""
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


def test_saves_within_a_step_do_not_write_the_index(db, clock, new_record):
    """Two saves whose expiries fall into the same step write the index once."""
    store = SledStore(db.open_tree("session"), resolution=timedelta(minutes=1), clock=clock)
    record = new_record(10)
    store.save(record)
    with index_tree(store).watch() as events:
        store.save(attrs.evolve(record, expiry_date=new_record(11).expiry_date))
        assert events.get(timeout=0.05) is None
        store.save(attrs.evolve(record, expiry_date=new_record(100).expiry_date))
        assert events.get(timeout=5) is not None


def test_index_sweep_examines_only_due_entries(store, new_record):
    """An index sweep examines the expired entries and those of the current step, and no others."""
    for seconds in (-100, -50, 0.5, *range(100, 200)):
        store.save(new_record(seconds))
    report = store.delete_expired()
    assert (report.examined, report.deleted) == (3, 2)
    assert store.delete_expired(SweepStrategy.FULL_SCAN).examined == 101


def test_full_scan_removes_entries(store, new_record):
    """A full scan of an indexed store removes the entries of the sessions it deletes."""
    for seconds in (-100, -50, 100):
        store.save(new_record(seconds))
    assert store.delete_expired(SweepStrategy.FULL_SCAN).deleted == 2
    assert store.verify_index()
    assert store.verify_index().entries == 1


def test_verify_finds_missing_and_stale_entries(store, tree, new_record):
    """Records written or removed behind the store are reported as missing and stale; a rebuild fixes both."""
    kept, removed, inserted = new_record(), new_record(), new_record()
    store.save(kept)
    store.save(removed)
    tree.remove(removed.id.key)
    tree.insert(inserted.id.key, inserted.encode())
    report = store.verify_index()
    assert not report
    assert (report.records, report.entries, report.missing, report.stale) == (2, 2, 1, 1)
    assert store.rebuild_index()
    assert store.verify_index()
    assert store.verify_index().entries == 2


def test_sweep_drops_stale_entries(store, tree, clock, new_record):
    """A sweep drops entries whose record is gone or has another expiry, and deletes no live session."""
    removed, prolonged = new_record(10), new_record(10)
    store.save(removed)
    store.save(prolonged)
    tree.remove(removed.id.key)
    tree.insert(prolonged.id.key, attrs.evolve(prolonged, expiry_date=new_record(1000).expiry_date).encode())
    clock.move(timedelta(seconds=20))
    assert store.delete_expired().deleted == 0
    assert store.load(prolonged.id) is not None
    assert list(index_tree(store)) == []


def test_entries_left_over_are_not_wrong(store, tree, new_record):
    """Entries whose record is gone or has another expiry are counted, and the report stays truthy."""
    removed, changed = new_record(10), new_record(10)
    store.save(removed)
    store.save(changed)
    tree.remove(removed.id.key)
    index_tree(store).insert(b"\xff" * 8 + changed.id.key, b"")
    report = store.verify_index()
    assert report
    assert (report.entries, report.missing, report.stale) == (3, 0, 2)


@pytest.mark.parametrize("entry", [b"", b"short", b"\0" * 30])
def test_invalid_entries_are_stale(store, tree, new_record, entry):
    """Keys in the index tree that are not entries count as stale, are skipped, and are dropped by a sweep."""
    record = new_record()
    store.save(record)
    index_tree(store).insert(entry, b"")
    assert store.first_expiry() == record.expiry_date.replace(microsecond=0)
    assert [id for _, id in store.expiring()] == [record.id]
    assert store.verify_index().stale == 1
    store.delete_expired()
    assert store.verify_index().entries == 1


def test_key_that_is_not_an_id_is_undecodable(store, tree, new_record):
    """A record whose key is not an id gets no entry and is counted as undecodable."""
    tree.insert(b"short", new_record().encode())
    assert store.rebuild_index().undecodable == 1
    assert store.verify_index()
    assert store.verify_index().undecodable == 1


@STRATEGIES
def test_key_that_is_not_an_id_does_not_expire(tree, clock, new_record, strategy):
    """A record whose key is not an id is missing from `expiring` and `first_expiry`."""
    record = new_record(60)
    tree.insert(b"short", new_record(30).encode())
    store = SledStore(tree, strategy=strategy, clock=clock)
    store.save(record)
    assert [id for _, id in store.expiring()] == [record.id]
    assert store.first_expiry().replace(microsecond=0) == record.expiry_date.replace(microsecond=0)


@STRATEGIES
def test_sweep_keeps_records_whose_key_is_not_an_id(tree, clock, new_record, strategy):
    """Neither strategy deletes an expired record whose key is not an id; a full scan counts it as undecodable."""
    store = SledStore(tree, clock=clock)
    tree.insert(b"short", new_record(-1).encode())
    expected = store.delete_expired(strategy, dry_run=True)
    report = store.delete_expired(strategy)
    assert (report.deleted, report.undecodable) == (0, strategy is SweepStrategy.FULL_SCAN)
    assert (expected.deleted, expected.undecodable) == (report.deleted, report.undecodable)
    assert b"short" in tree


def test_as_it_is_changes_nothing(db, clock, new_record):
    """`as_it_is` reports an index with missing entries, and scans without an index that is whole; it writes nothing."""
    tree = db.open_tree("session")
    store = SledStore(tree, resolution=timedelta(minutes=1))
    for _ in range(3):
        store.save(new_record())
    del store
    entries = db.open_tree("session:expiry")
    entries.pop_min()
    inspected = SledStore.as_it_is(tree)
    assert inspected.resolution == timedelta(minutes=1)
    assert inspected.verify_index().missing == 1
    del inspected

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


def test_as_it_is_beside_another_store(tree, clock, new_record):
    """`as_it_is` does not change what other stores on the tree keep, even after an interrupted rebuild."""
    store = SledStore(tree, clock=clock)
    for _ in range(PROGRESS_STEP):
        store.save(new_record())

    def interrupt(done, total):  # every entry is written, but the index is not marked as whole
        assert len(index_tree(store)) == done == PROGRESS_STEP
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.rebuild_index(interrupt)
    assert SledStore.as_it_is(tree).resolution is None
    assert store.rebuild_index().entries == PROGRESS_STEP
    assert SledStore.as_it_is(tree).verify_index().entries == PROGRESS_STEP


def test_reopening_a_dropped_tree_drops_its_entries(db, clock, new_record):
    """A store on a tree that was dropped and created again drops the entries of the old records."""
    SledStore(db.open_tree("session"), clock=clock).save(new_record())
    db.drop_tree("session")
    store = SledStore(db.open_tree("session"), clock=clock)
    assert list(store.expiring()) == []
    assert store.verify_index()


def test_verify_during_a_rebuild(store, tree, clock, new_record):
    """`verify_index` reports no errors while other stores rebuild the index at another resolution."""
    for _ in range(2500):
        store.save(new_record())
    others = []

    def progress(done, total):
        others.append(SledStore(tree, resolution=timedelta(minutes=len(others) + 1), clock=clock))

    report = store.verify_index(progress)
    assert report, report
    assert len(others) > 1
