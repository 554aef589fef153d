"""Records and index in step, write by write: in which order, in whose turn, and after whatever was interrupted."""

from functools import partial

import attrs
import pytest
from waiting import waits_for

from sled_sessions import SledStore, SweepStrategy
from sled_sessions.records import codec
from sled_sessions.stores.sled.indexed_tree import IndexedTree, IndexReport


@pytest.fixture
def store(tree, clock):
    return SledStore(tree, clock=clock)


def test_after_each_single_write_every_record_has_its_entry(store, tree, new_record, monkeypatch):
    """Whichever write a crash comes after, no record is there without its entry."""
    sessions = IndexedTree.of(tree)
    index = sessions.index

    def watched(write):
        def call(*arguments):
            result = write(*arguments)
            assert all(index.entry(codec.decode_expiry(value), key) in index.tree for key, value in tree)
            return result

        return call

    for owner, names in ((sessions, ("_insert", "_remove", "_compare_and_swap")), (index, ("insert", "remove"))):
        for name in names:
            monkeypatch.setattr(owner, name, watched(getattr(owner, name)))
    record = store.create(new_record(60))
    for seconds in (1000, 30):
        store.save(attrs.evolve(record, expiry_date=new_record(seconds).expiry_date))
    for seconds in (2000, 20):
        store.update(record.id, lambda now: attrs.evolve(now, expiry_date=new_record(seconds).expiry_date))  # noqa: B023
    store.delete(record.id)
    for strategy in SweepStrategy:
        store.save(new_record(-1))
        assert store.delete_expired(strategy).deleted == 1
    assert store.verify_index()


@pytest.mark.parametrize(
    "use",
    [
        lambda store, record: store.create(record),
        lambda store, record: store.save(record),
        lambda store, record: store.update(record.id, lambda now: attrs.evolve(now, data={"n": 2})),
        lambda store, record: store.delete(record.id),
        lambda store, record: store.delete_expired(now=record.expiry_date),
        lambda store, record: store.delete_expired(SweepStrategy.FULL_SCAN, now=record.expiry_date),
        lambda store, record: store.rebuild_index(),
        lambda store, record: SledStore(store.tree, clock=store.clock),
        lambda store, record: SledStore.as_it_is(store.tree),
        lambda store, record: SledStore(store.tree, strategy=SweepStrategy.FULL_SCAN, clock=store.clock),
    ],
    ids=["create", "save", "update", "delete", "sweep", "scan", "rebuild", "open", "open as it is", "open and drop"],
)
def test_whoever_writes_waits_for_its_turn(store, tree, new_record, use):
    """While one writer is at an id, others of that id wait, and so does who builds, opens or drops the index."""
    record = new_record()
    while record.id.key[0] % 64 == record.id.key[-1] % 64:  # so that no other byte leads to the same lock
        record = new_record()
    store.save(record)
    assert waits_for(IndexedTree.of(tree)._locks.of(record.id.key), partial(use, store, record))


def test_an_update_that_comes_second(store, new_record):
    """It leaves the entry alone that the first writer needs, too, and leaves none behind when the session is gone."""
    record = new_record(60, n=1)
    store.save(record)

    def update(first, seconds):
        """Change the session, and its expiry, when another writer has come first."""
        expiry_date, writers = new_record(seconds).expiry_date, [first]

        def change(now):
            for write in (writers.pop() for _ in writers[:]):
                write(attrs.evolve(now, expiry_date=expiry_date))
            return attrs.evolve(now, data={"n": 2}, expiry_date=expiry_date)

        return store.update(record.id, change)

    assert update(store.save, 1000).data == {"n": 2}
    assert store.verify_index()
    assert update(lambda now: store.delete(now.id), 5000) is None
    assert store.verify_index()
    assert store.verify_index().entries == 0


def test_an_unreadable_record_is_replaced_and_deleted(store, tree, new_record):
    """A session that is saved over bytes that cannot be read has its entry; such bytes can be deleted."""
    record = new_record()
    tree.insert(record.id.key, b"garbage")
    store.save(record)
    assert store.verify_index().missing == 0
    tree.insert(record.id.key, b"garbage")
    assert store.delete(record.id)
    assert record.id.key not in tree


def test_an_index_that_goes_during_a_sweep(store, tree, clock, new_record):
    """A sweep goes on when another store drops the index, also past a session that has gone meanwhile."""
    first, second = new_record(-20), new_record(-10)
    store.save(first)
    store.save(second)

    def drop(record):
        SledStore(tree, strategy=SweepStrategy.FULL_SCAN, clock=clock)
        tree.remove(second.id.key)

    assert store.delete_expired(on_expired=drop).deleted == 1


def test_a_rebuilding_that_was_interrupted(store, tree, clock, new_record):
    """The next store does not take its index for whole, and builds it again."""
    for _ in range(1100):
        store.save(new_record())

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.rebuild_index(progress=interrupt)
    assert SledStore(tree, clock=clock).verify_index()


def test_a_report_is_true_when_nothing_is_wrong():
    """Either fault alone makes it false."""
    assert IndexReport()
    assert not IndexReport(missing=1)
    assert not IndexReport(stale=1)


def test_the_entry_of_an_unreadable_record_is_not_stale(store, tree, new_record):
    """Nobody knows what its entry would be."""
    record = new_record()
    store.save(record)
    tree.insert(record.id.key, b"garbage")
    report = store.verify_index()
    assert (report.undecodable, report.stale) == (1, 0)


def test_sessions_that_are_deleted_while_the_index_is_verified(store, new_record):
    """Their entries are none that are wrong."""
    records = [new_record() for _ in range(1100)]
    for record in records:
        store.save(record)

    def progress(done, total):
        if done > len(records):  # at the entries
            while records:
                store.delete(records.pop().id)

    assert store.verify_index(progress)
    assert not records
