"""IndexedTree keeps records and index in step: the order of writes, locking, and interruptions."""

import shutil
from functools import partial

import attrs
import pytest
from stores.holding import holding
from waiting import waits_for

from sled_sessions import Record, SledStore, SweepStrategy, sled
from sled_sessions.records import codec
from sled_sessions.stores.sled.indexed_tree import IndexedTree, IndexReport


@pytest.fixture
def store(tree, clock):
    return SledStore(tree, clock=clock)


def has_entry(record, entries):
    microseconds = codec.to_microseconds(record.expiry_date)
    rounded = microseconds - microseconds % 1_000_000
    return (rounded + 2**63).to_bytes(8, "big") + record.id.key in entries


def test_every_record_has_its_entry_after_a_crash(tmp_path, clock, new_record):
    """Wherever a crash cuts off sled's log, each record that survives has its entry."""
    folder, crashed = tmp_path / "storage", tmp_path / "crashed"
    with sled.open(folder, flush_every_ms=None) as db:
        store = SledStore(db.open_tree("session"), clock=clock)
        db.flush()
        start = (folder / "db").stat().st_size
        record = store.create(new_record(60))
        for seconds in (1000, 30):
            store.save(attrs.evolve(record, expiry_date=new_record(seconds).expiry_date))
        for seconds in (2000, 20):
            expiry_date = new_record(seconds).expiry_date
            store.update(record.id, lambda now: attrs.evolve(now, expiry_date=expiry_date))  # noqa: B023 - called at once
        store.delete(record.id)
        for strategy in SweepStrategy:
            store.save(new_record(-1))
            assert store.delete_expired(strategy).deleted == 1
        db.flush()
        log = (folder / "db").read_bytes()
        shutil.copytree(folder, crashed)
    states = set()
    for length in range(start, len(log), 8):  # shorter steps than any entry of the log
        (crashed / "db").write_bytes(log[:length])
        with sled.open(crashed, flush_every_ms=None) as db:
            records = [Record.decode(value) for _, value in db.open_tree("session")]
            entries = tuple(key for key, _ in db.open_tree("session:expiry"))
        assert all(has_entry(record, entries) for record in records)
        states.add((*(record.expiry_date for record in records), entries))
    assert len(states) > 15


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
    ids=["create", "save", "update", "delete", "sweep", "scan", "rebuild", "open", "as_it_is", "open and drop"],
)
def test_calls_wait_for_the_lock_of_an_id(store, tree, new_record, use):
    """While the lock of an id is held, writers of that id wait, and so do building, opening and dropping the index."""
    record = new_record()
    while record.id.key[0] % 64 == record.id.key[-1] % 64:  # only the last byte leads to this lock
        record = new_record()
    store.save(record)
    assert waits_for(holding(IndexedTree.of(tree)._locks, record.id.key), partial(use, store, record))


def test_update_after_another_writer(store, new_record):
    """An update that another writer preceded keeps an entry that both need, and leaves none for a deleted session."""
    record = new_record(60, n=1)
    store.save(record)

    def update(first, seconds):
        """Change the session and its expiry after another writer has changed it."""
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


def test_unreadable_record_can_be_replaced_and_deleted(store, tree, new_record):
    """Saving over an unreadable record gives the session its entry; an unreadable record can be deleted."""
    record = new_record()
    tree.insert(record.id.key, b"garbage")
    store.save(record)
    assert store.verify_index().missing == 0
    tree.insert(record.id.key, b"garbage")
    assert store.delete(record.id)
    assert record.id.key not in tree


def test_index_dropped_during_a_sweep(store, tree, clock, new_record):
    """A sweep continues when another store drops the index and removes a session that is due."""
    first, second = new_record(-20), new_record(-10)
    store.save(first)
    store.save(second)

    def drop(record):
        SledStore(tree, strategy=SweepStrategy.FULL_SCAN, clock=clock)
        tree.remove(second.id.key)

    assert store.delete_expired(on_expired=drop).deleted == 1


def test_interrupted_rebuild_is_repeated(store, tree, clock, new_record):
    """After an interrupted rebuild the next store on the tree builds the index again."""
    for _ in range(1100):
        store.save(new_record())

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.rebuild_index(progress=interrupt)
    assert SledStore(tree, clock=clock).verify_index()


def test_truth_of_a_report():
    """An IndexReport is false if an entry is missing, and true if entries are left over: sweeps drop those."""
    assert IndexReport()
    assert not IndexReport(missing=1)
    assert IndexReport(stale=1)


def test_entry_of_an_unreadable_record_is_not_stale(store, tree, new_record):
    """The entry of an unreadable record does not count as stale, since its expiry is unknown."""
    record = new_record()
    store.save(record)
    tree.insert(record.id.key, b"garbage")
    report = store.verify_index()
    assert (report.undecodable, report.stale) == (1, 0)


def test_deletes_during_verify(store, new_record):
    """Sessions deleted while the index is verified are not reported as errors."""
    records = [new_record() for _ in range(1100)]
    for record in records:
        store.save(record)

    def progress(done, total):
        if done > len(records):  # it has come to the entries
            while records:
                store.delete(records.pop().id)

    assert store.verify_index(progress)
    assert not records
