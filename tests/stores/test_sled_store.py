"""SledStore: its index, its bytes, and what it says to a mistake."""

import logging
import threading
from datetime import UTC, datetime, timedelta, timezone

import attrs
import msgspec
import pytest
from reference import read_jsonl

from sled_sessions import (
    BackendError,
    DecodeError,
    EncodeError,
    Id,
    Record,
    RecordTooLarge,
    SessionError,
    SledStore,
    SweepStrategy,
    sled,
)
from sled_sessions.operate import count_expired
from sled_sessions.records import codec
from sled_sessions.stores.sled import indexed_tree
from sled_sessions.stores.sled.index import ExpiryIndex

STRATEGIES = pytest.mark.parametrize("strategy", list(SweepStrategy), ids=lambda strategy: strategy.value)


@pytest.fixture
def store(tree, clock):
    return SledStore(tree, clock=clock)


def _index(store):
    return store.tree.db.open_tree(store.tree.name + b":expiry")


# -- bytes on disk ----------------------------------------------------------------------------------------------------


def test_a_record_lies_under_its_id(store, tree, new_record):
    """The record tree maps the id's big-endian bytes to the record's bytes and holds nothing else."""
    record = new_record(n=1)
    store.save(record)
    assert list(tree) == [(bytes(record.id), record.encode())]


@pytest.mark.parametrize(
    "moment", [datetime(2030, 1, 1, 12, 0, 0, 999_999, UTC), datetime(1901, 2, 3, 4, 5, 6, 7, UTC)]
)
@pytest.mark.parametrize("step", [timedelta(microseconds=1), timedelta(seconds=1), timedelta(minutes=7)])
def test_an_entry_is_the_rounded_expiry_and_the_id(db, clock, moment, step):
    """An entry is the expiry in microseconds, rounded down, sign bit flipped, big-endian, and the record's key."""
    store = SledStore(db.open_tree("session"), resolution=step, clock=clock)
    record = Record(Id.new(), {}, moment)
    store.save(record)
    microseconds = codec.to_microseconds(moment)
    rounded = microseconds // (step // timedelta(microseconds=1)) * (step // timedelta(microseconds=1))
    assert list(_index(store)) == [((rounded + 2**63).to_bytes(8, "big") + record.id.key, b"")]


def test_the_index_is_told_by_a_marker(store, db):
    """The meta tree names the index's format and resolution."""
    ((key, marker),) = db.open_tree("session:meta")
    assert key == b"expiry_index"
    assert msgspec.msgpack.decode(marker) == {"version": 1, "resolution_us": 1_000_000}


def test_a_full_scan_store_writes_what_the_crate_writes(db, clock, new_record):
    """With FULL_SCAN there is one tree with the records, and nothing else in the database."""
    store = SledStore(db.open_tree("session"), strategy=SweepStrategy.FULL_SCAN, clock=clock)
    store.save(new_record())
    assert sorted(db.tree_names()) == [b"__sled__default", b"session"]


# -- the Rust crate's databases ---------------------------------------------------------------------------------------


def test_reads_the_crates_database(rust_storage):
    """Every record that the Rust crate wrote is there and equal, and the index gets built."""
    rows = {row["id"]: row for row in read_jsonl("records.jsonl")}
    with SledStore.open(rust_storage) as store:
        records = {str(record.id): record for record in store.records()}
        assert records.keys() == rows.keys()
        for id, record in records.items():
            assert record.data == rows[id]["data"]
            assert codec.to_microseconds(record.expiry_date) * 1000 == int(rows[id]["expiry_ns"])
        report = store.verify_index()
        assert report
        assert (report.records, report.entries) == (60, 60)


@STRATEGIES
def test_sweeps_the_crates_database(rust_storage, strategy):
    """Both sweeps delete the same six sessions, those that expired in 2020."""
    rows = read_jsonl("records.jsonl")
    expired = {row["id"] for row in rows if int(row["expiry_ns"]) < 1_700_000_000 * 10**9}
    with SledStore.open(rust_storage) as store:
        gone = []
        report = store.delete_expired(strategy, on_expired=gone.append)
        assert (report.deleted, report.strategy) == (6, strategy)
        assert {str(record.id) for record in gone} == expired
        assert store.count() == 54
        assert store.verify_index()


def test_saves_back_what_the_crate_wrote(rust_storage):
    """A record of the crate that is loaded and saved unchanged keeps every byte."""
    with SledStore.open(rust_storage) as store:
        before = list(store.tree)
        for record in list(store.records()):
            store.save(record)
        assert list(store.tree) == before
        assert store.verify_index()


# -- the index's upkeep -----------------------------------------------------------------------------------------------


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


def test_a_tree_without_an_index_gets_one(tree, clock, new_record):
    """Opening a store on records that nobody indexed builds the index and tells how far it is."""
    records = [new_record(seconds) for seconds in range(-5, 5)]
    for record in records:
        tree.insert(record.id.key, record.encode())
    steps = []
    store = SledStore(tree, clock=clock, progress=lambda done, total: steps.append((done, total)))
    assert steps[-1] == (10, 10)
    assert store.verify_index().entries == 10
    assert store.delete_expired().deleted == 6


def test_a_half_built_index_is_built_again(store, tree, clock, new_record):
    """An index whose marker is missing, as a crash while building leaves it, is not trusted."""
    store.save(new_record(-1))
    _index(store).clear()
    tree.db.open_tree("session:meta").clear()
    del store
    assert SledStore(tree, clock=clock).delete_expired().deleted == 1


@pytest.mark.parametrize(
    "marker", [b"", b"garbage", msgspec.msgpack.encode({"version": 99, "resolution_us": 1_000_000})]
)
def test_a_marker_that_is_not_ours(store, tree, clock, new_record, marker):
    """An index of an unknown format is built anew."""
    store.save(new_record(-1))
    _index(store).insert(b"of another format", b"")
    tree.db.open_tree("session:meta").insert(b"expiry_index", marker)
    again = SledStore(tree, clock=clock)
    assert again.verify_index().entries == 1
    assert again.delete_expired().deleted == 1


def test_another_resolution_rebuilds(store, tree, clock, new_record):
    """Opening with another resolution rebuilds the index, also for a store that is already open on the tree."""
    record = new_record(90)
    store.save(record)
    coarse = SledStore(tree, resolution=timedelta(hours=1), clock=clock)
    assert coarse.first_expiry().minute == 0
    assert coarse.verify_index()
    store.save(attrs.evolve(record, expiry_date=new_record(4000).expiry_date))
    assert coarse.verify_index()
    assert coarse.verify_index().entries == 1


def test_full_scan_drops_the_index(store, tree, clock, new_record):
    """A FULL_SCAN store drops the index it would not keep; the tree's other stores scan, the next builds it."""
    store.save(new_record(-3))
    scanning = SledStore(tree, strategy=SweepStrategy.FULL_SCAN, clock=clock)
    assert sorted(tree.db.tree_names()) == [b"__sled__default", b"session"]
    with pytest.raises(SessionError, match="no index"):
        scanning.rebuild_index()
    store.save(new_record(-2))
    report = store.delete_expired(SweepStrategy.EXPIRY_INDEX, limit=1)
    assert (report.deleted, report.strategy) == (1, SweepStrategy.FULL_SCAN)
    assert SledStore(tree, clock=clock).verify_index().entries == 1
    assert store.delete_expired().strategy is SweepStrategy.EXPIRY_INDEX


FOREIGN = {
    "its own meta": {b"session:meta": {b"schema": b"7"}},
    "its own expiry": {b"session:expiry": {b"monday": b"1"}},
    "both": {b"session:meta": {b"schema": b"7"}, b"session:expiry": {b"monday": b"1"}},
}
"""Trees of a program that had them before there was a store."""


def _contents(db):
    return {name: dict(pairs) for _, name, pairs in db.export()}


@pytest.fixture(params=FOREIGN.values(), ids=FOREIGN)
def foreign(request, db, new_record):
    """A database with a session and such trees; all that lies in it."""
    record = new_record()
    db.open_tree("session").insert(record.id.key, record.encode())
    for name, pairs in request.param.items():
        for key, value in pairs.items():
            db.open_tree(name).insert(key, value)
    return _contents(db)


def test_no_index_is_dropped_that_is_none(db, clock, foreign):
    """A FULL_SCAN store leaves trees alone that have the names of an index's and are none."""
    store = SledStore(db.open_tree("session"), strategy=SweepStrategy.FULL_SCAN, clock=clock)
    assert store.delete_expired().deleted == 0
    assert _contents(db) == foreign


def test_no_index_is_built_over_what_is_none(db, clock, foreign):
    """A store that would keep its index in a tree that holds something else says what to do, and writes nothing."""
    cure = "another name" if b"session:meta" in foreign else "index="
    with pytest.raises(ValueError, match=cure):
        SledStore(db.open_tree("session"), clock=clock)
    assert _contents(db) == foreign
    if cure == "index=":
        store = SledStore(db.open_tree("session"), index=db.open_tree("elsewhere"), clock=clock)
        assert store.verify_index().entries == 1
        SledStore(db.open_tree("session"), strategy=SweepStrategy.FULL_SCAN, clock=clock)
        assert _contents(db) == foreign | {b"elsewhere": {}}


def test_the_first_stores_of_several_threads(db, fast_switching):
    """Threads that open the first store on a tree together get one index, and take it for none that is foreign."""
    opened = []
    for number in range(100):
        tree = db.open_tree(f"tree {number}")
        threads = [threading.Thread(target=lambda on: opened.append(SledStore(on)), args=[tree]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(opened) == 400


def test_a_marker_among_other_notes(db, store, tree, clock, new_record):
    """Of a meta tree that holds a program's own keys, too, only the marker goes, also when a build was interrupted."""
    store.save(new_record(-1))
    db.open_tree("session:meta").insert(b"schema", b"7")

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        SledStore(tree, resolution=timedelta(minutes=1), progress=interrupt, clock=clock)
    assert SledStore(tree, clock=clock).verify_index().entries == 1
    SledStore(tree, strategy=SweepStrategy.FULL_SCAN, clock=clock)
    assert {name: pairs for name, pairs in _contents(db).items() if name not in (b"session", b"__sled__default")} == {
        b"session:meta": {b"schema": b"7"}
    }


def test_a_name_that_is_used_again(db, clock, new_record):
    """A tree that held an index, was dropped and holds something else now is neither used nor emptied."""
    tree = db.open_tree("session")
    SledStore(tree, index=db.open_tree("elsewhere"), clock=clock).save(new_record())
    db.drop_tree("elsewhere")
    db.open_tree("elsewhere").insert(b"monday", b"1")
    with pytest.raises(ValueError, match="tree of its own"):
        SledStore(tree, index=db.open_tree("elsewhere"), clock=clock)
    SledStore(tree, strategy=SweepStrategy.FULL_SCAN, clock=clock)
    assert dict(db.open_tree("elsewhere")) == {b"monday": b"1"}


def test_an_index_in_another_indexs_tree(db, clock, new_record):
    """The sibling's name may have been given to another index, which is then left alone."""
    other = SledStore(db.open_tree("other"), index=db.open_tree("session:expiry"), clock=clock)
    other.save(new_record())
    with pytest.raises(ValueError, match="tree of its own"):
        SledStore(db.open_tree("session"), clock=clock)
    SledStore(db.open_tree("session"), strategy=SweepStrategy.FULL_SCAN, clock=clock)
    assert other.verify_index().entries == 1


@pytest.mark.parametrize("place", ["elsewhere", "__sled__default"])
def test_full_scan_drops_an_index_wherever_it_is(db, clock, new_record, place):
    """An index in a tree that the caller named is emptied by a FULL_SCAN store; the tree can still be used."""
    tree, index = db.open_tree("session"), db.open_tree(place)
    SledStore(tree, index=index, clock=clock).save(new_record())
    SledStore(tree, strategy=SweepStrategy.FULL_SCAN, clock=clock)
    assert len(index) == 0
    assert b"session:meta" not in db.tree_names()
    assert SledStore(tree, index=index, clock=clock).verify_index().entries == 1


def test_an_index_tree_of_ones_own(db, clock, new_record):
    """The index can lie in a tree that the caller names."""
    store = SledStore(db.open_tree("session"), index=db.open_tree("elsewhere"), clock=clock)
    store.save(new_record(-1))
    assert len(db.open_tree("elsewhere")) == 1
    again = SledStore(store.tree, index=db.open_tree("elsewhere"), clock=clock)
    assert again.verify_index().entries == 1
    assert store.delete_expired().deleted == 1


def test_an_index_in_another_tree_is_another_index(db, clock, new_record):
    """A store that finds the index of its records in another tree than its own builds its own."""
    tree = db.open_tree("session")
    for place in (None, db.open_tree("elsewhere"), None, db.open_tree("else")):
        store = SledStore(tree, index=place, clock=clock)
        assert store.verify_index()
        store.save(new_record(60))
    assert store.verify_index().entries == 4


@pytest.mark.parametrize("place", ["session", "session:meta", "users", "another:expiry", "another's"])
def test_an_index_empties_no_tree_that_is_in_use(db, clock, new_record, place):
    """An index cannot lie where the records, their marker, another index or anything else lies; all of that stays."""
    store = SledStore(db.open_tree("session"), clock=clock)
    store.save(new_record())
    for name, index in (("another", None), ("a third", db.open_tree("another's"))):
        SledStore(db.open_tree(name), index=index, clock=clock).save(new_record())
    db.open_tree("users").insert(b"ada", b"1815")
    before = [(name, list(pairs)) for _, name, pairs in db.export()]
    with pytest.raises(ValueError, match="tree of its own"):
        SledStore(store.tree, index=db.open_tree(place), clock=clock)
    assert [(name, list(pairs)) for _, name, pairs in db.export()] == before
    assert store.verify_index()


@pytest.mark.parametrize("place", ["session", "session:meta"])
def test_an_index_is_not_put_among_its_records(db, tree, place):
    """Nor with its marker, also before there are any."""
    with pytest.raises(ValueError, match="tree of its own"):
        SledStore(tree, index=db.open_tree(place))


def test_an_index_tree_has_a_name(db, tree):
    """The marker names the tree of the entries, so that it has to have a name."""
    with pytest.raises(ValueError, match="a tree with a name"):
        SledStore(tree, index=db.open_tree(""))


def test_an_index_lies_beside_its_records(tree, tmp_path):
    """What is no tree, or one of another database, is refused as an index: a crash would take them apart."""
    with pytest.raises(TypeError, match=r"sled\.Tree"):
        SledStore(tree, index="elsewhere")
    with sled.open(tmp_path / "other") as other, pytest.raises(ValueError, match="same database"):
        SledStore(tree, index=other.open_tree("elsewhere"))


@pytest.mark.parametrize(
    "contents",
    [{b"k" * 24: b"value"}, {b"short": b""}, {b"a" * 24: b"", b"monday": b"1"}, {b"monday": b"1", b"z" * 24: b""}],
    ids=["values", "other keys", "others last", "others first"],
)
def test_an_index_empties_no_tree_that_holds_something_else(db, tree, contents):
    """A tree whose first or last pair is no entry is no index's, and stays as it is."""
    other = db.open_tree("elsewhere")
    for key, value in contents.items():
        other.insert(key, value)
    with pytest.raises(ValueError, match="tree of its own"):
        SledStore(tree, index=other)
    assert dict(other) == contents


def test_an_index_that_was_dropped_is_built_again(store, tree, clock, new_record):
    """A marker alone is no index: entries that were dropped, or records that came by an import, are noticed."""
    store.save(new_record(-1))
    tree.db.drop_tree("session:expiry")
    assert SledStore(tree, clock=clock).delete_expired().deleted == 1


def test_an_interrupted_build_leaves_no_index(store, tree, clock, new_record):
    """Until the index is whole again every sweep reads all records, and the next build finds what there is."""
    for _ in range(3000):
        tree.insert((record := new_record(-1)).id.key, record.encode())

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.rebuild_index(progress=interrupt)
    assert store.first_expiry() is not None
    assert store.delete_expired(limit=1000).strategy is SweepStrategy.FULL_SCAN
    with pytest.raises(KeyboardInterrupt):
        SledStore(tree, resolution=timedelta(minutes=1), progress=interrupt, clock=clock)
    assert store.rebuild_index().records == 2000
    assert store.verify_index()
    assert store.delete_expired().deleted == 2000


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


def test_a_store_as_it_is_beside_another(tree, clock, new_record, monkeypatch):
    """Looking at a tree changes nothing of what a store of the same process keeps, whatever that is at."""
    store = SledStore(tree, clock=clock)
    for _ in range(3):
        store.save(new_record())
    with monkeypatch.context() as patched:
        patched.setattr(ExpiryIndex, "mark_whole", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            store.rebuild_index()
    assert SledStore.as_it_is(tree).resolution is None
    assert store.rebuild_index().entries == 3
    assert SledStore.as_it_is(tree).verify_index().entries == 3


def test_a_wrong_resolution_makes_no_trees(db, tree):
    """An argument that is refused has written nothing."""
    with pytest.raises(ValueError, match="resolution must be"):
        SledStore(tree, resolution=timedelta(0))
    assert db.tree_names() == [b"__sled__default", b"session"]


@pytest.mark.parametrize("gone", [(), (b":expiry",)], ids=["nothing", "entries"])
def test_a_drop_that_is_interrupted(tree, clock, new_record, monkeypatch, gone):
    """When a store that keeps no index is interrupted while it drops that of others, what they write has its entry."""
    store = SledStore(tree, clock=clock)
    store.save(new_record())

    def interrupt(db, records):
        for suffix in gone:
            db.drop_tree(records + suffix)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(indexed_tree, "drop_index", interrupt)
        with pytest.raises(KeyboardInterrupt):
            SledStore(tree, strategy=SweepStrategy.FULL_SCAN, clock=clock)
    for _ in range(5):
        store.save(new_record())
    del store
    assert SledStore(tree, clock=clock).verify_index()


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


def test_a_tree_that_is_opened_again(db, clock, new_record):
    """A store on a tree that was dropped and opened again works, whoever still holds one on the old tree."""
    old = SledStore(db.open_tree("session"), clock=clock)
    old.save(new_record())
    db.drop_tree("session")
    store = SledStore(db.open_tree("session"), clock=clock)
    record = store.create(new_record(n=1))
    assert list(store.records()) == [record]
    with pytest.raises(BackendError, match="dropped"):
        old.load(record.id)


def test_the_default_tree(db, clock, new_record):
    """The database itself, sled's default tree, holds sessions as any other tree does."""
    store = SledStore(db, clock=clock)
    store.save(new_record(-1))
    assert store.verify_index().entries == 1
    assert store.delete_expired().deleted == 1


# -- sweeps -----------------------------------------------------------------------------------------------------------


@STRATEGIES
def test_unreadable_records_do_not_stop_a_sweep(store, tree, new_record, caplog, strategy):
    """Records that cannot be read are counted, logged and left; the expired ones around them go."""
    expired = [new_record(-60) for _ in range(20)]
    for record in expired:
        store.save(record)
    for record in expired[::2]:
        tree.insert(record.id.key, b"garbage")
    for _ in range(2):  # again, since what cannot be read stays
        caplog.clear()
        report = store.delete_expired(strategy)
        assert report.undecodable == 10
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert store.count() == 10
    assert store.load(expired[1].id) is None
    with pytest.raises(DecodeError):
        store.load(expired[0].id)


@STRATEGIES
def test_unreadable_records_do_not_stop_a_sweep_in_parts(store, tree, new_record, strategy):
    """Sweeps with a limit get past records that cannot be read."""
    expired = sorted((new_record(-60) for _ in range(20)), key=lambda record: record.id)
    for record in expired:
        store.save(record)
    for record in expired[:10]:
        tree.insert(record.id.key, b"garbage")
    assert sum(store.delete_expired(strategy, limit=1).deleted for _ in range(10)) == 10


@STRATEGIES
@pytest.mark.parametrize("hours", [-12, 14])
def test_expiries_in_local_time(store, new_record, strategy, hours):
    """A sweep goes by the moment, whatever offset from UTC it was written with."""
    for seconds in (-1, 1):
        record = new_record(seconds)
        record.expiry_date = record.expiry_date.astimezone(timezone(timedelta(hours=hours)))
        store.save(record)
    assert store.delete_expired(strategy).deleted == 1


@STRATEGIES
def test_a_whole_sweep_after_a_part_of_one(store, tree, clock, strategy):
    """A sweep with a limit goes on where the last one ended; one without begins at the front."""
    ids = sorted(Id.new() for _ in range(4))
    records = [Record(id, {}, clock() - timedelta(seconds=60 - number)) for number, id in enumerate(ids)]
    for record in records:
        store.save(record)
    tree.insert(ids[0].key, b"garbage")
    assert [store.delete_expired(strategy, limit=1).examined for _ in range(2)] == [2, 1]
    store.save(records[0])
    assert store.delete_expired(strategy).deleted == 2
    store.save(records[0])
    assert store.delete_expired(strategy, limit=1).deleted == 1


@STRATEGIES
def test_a_budget_ends_a_sweep_early(store, new_record, strategy):
    """With no time at all each sweep still makes progress, and the last one is complete."""
    for _ in range(3000):
        store.save(new_record(-1))
    live = new_record(60)
    store.save(live)
    reports = []
    while not reports or not reports[-1].complete:
        reports.append(store.delete_expired(strategy, budget=timedelta(0)))
        assert len(reports) < 5000
    assert len(reports) > 1
    assert sum(report.deleted for report in reports) == 3000
    assert store.load(live.id) is not None


@STRATEGIES
def test_a_budget_that_is_not_used_up(store, new_record, strategy):
    """A sweep that has time to spare comes to the end."""
    for _ in range(3):
        store.save(new_record(-1))
    report = store.delete_expired(strategy, budget=timedelta(hours=1))
    assert (report.deleted, report.complete) == (3, True)


def test_progress_is_told(store, new_record):
    """A full scan tells how many records it has read, at the end of how many."""
    for _ in range(2500):
        store.save(new_record(60))
    steps = []
    store.delete_expired(SweepStrategy.FULL_SCAN, progress=lambda done, total: steps.append((done, total)))
    assert steps == [(1024, None), (2048, None), (2500, 2500)]


def test_a_record_that_only_partly_decodes(store, tree, new_record, caplog):
    """An expired record whose data is damaged is deleted, which no listener can be told of and the log is."""
    record = new_record(-1, a="x")
    value = record.encode().replace(b"\xa1a\xa1x", b"\xa1a\xa1\xff")
    store.save(record)
    tree.insert(record.id.key, value)
    seen = []
    report = store.delete_expired(on_expired=seen.append)
    assert (report.deleted, report.undecodable, seen) == (1, 0, [])
    assert "told nobody" in caplog.text


# -- opening, closing, mistakes ---------------------------------------------------------------------------------------


def test_what_is_closed_is_on_disk(tmp_path, new_record):
    """A store that was closed opens again with everything it had, and its index is not built a second time."""
    record = new_record(10**9)
    with SledStore.open(tmp_path / "storage") as store:
        store.save(record)
    with SledStore.open(tmp_path / "storage", progress=lambda done, total: pytest.fail("built again")) as store:
        assert store.load(record.id) == record
        assert store.verify_index().entries == 1


def test_what_open_is_given_goes_for_the_store(tmp_path, clock, new_record):
    """The options of `open` are those of the store."""
    with SledStore.open(tmp_path, strategy=SweepStrategy.FULL_SCAN, max_record_bytes=200, clock=clock) as store:
        assert store.resolution is None
        with pytest.raises(RecordTooLarge):
            store.save(new_record(text="x" * 200))


def test_a_store_on_a_tree_leaves_the_database_open(tree, clock, new_record):
    """Closing a store closes only a database that it opened itself."""
    with SledStore(tree, clock=clock) as store:
        store.save(new_record())
    assert len(tree) == 1


def test_a_closed_store_says_so(tmp_path, new_record):
    """Every use after `close` raises BackendError, from sled's ClosedError."""
    store = SledStore.open(tmp_path / "storage")
    store.close()
    store.close()
    record = new_record()
    for use in (
        lambda: store.save(record),
        lambda: store.create(record),
        lambda: store.load(record.id),
        lambda: store.delete(record.id),
        lambda: store.update(record.id, lambda now: now),
        store.delete_expired,
        store.count,
        store.flush,
        store.verify_index,
        store.rebuild_index,
        store.first_expiry,
        lambda: list(store.records()),
        lambda: list(store.expiring()),
    ):
        with pytest.raises(BackendError) as caught:
            use()
        assert isinstance(caught.value.__cause__, sled.ClosedError)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"resolution": timedelta(0)}, ValueError, "microsecond"),
        ({"resolution": timedelta.max}, ValueError, "years"),
        ({"resolution": 1}, TypeError, "timedelta"),
        ({"clock": datetime.now}, EncodeError, "what the clock returns must be an aware datetime"),
    ],
)
def test_a_failed_open_lets_go_of_the_folder(tmp_path, options, error, message):
    """When the store cannot be made, the database that was opened for it is closed again."""
    with pytest.raises(error, match=message) as held:
        SledStore.open(tmp_path / "storage", **options)
    SledStore.open(tmp_path / "storage").close()
    assert held.tb  # and with it the database


def test_a_record_too_large(store, new_record):
    """A record above the limit is refused with both sizes, and the session stays as it was."""
    record = new_record(text="x")
    store.save(record)
    with pytest.raises(RecordTooLarge, match=r"65,\d\d\d bytes.*65,536"):
        store.save(attrs.evolve(record, data={"text": "x" * 65_536}))
    assert store.load(record.id) == record
    store.save(attrs.evolve(record, data={"text": "x" * 65_000}))


def test_a_record_under_a_foreign_key(store, tree, new_record):
    """Bytes that are another session's record are not handed out under this id."""
    mine, other = new_record(), new_record(secret=1)
    tree.insert(mine.id.key, other.encode())
    with pytest.raises(DecodeError, match="another"):
        store.load(mine.id)


def test_text_instead_of_an_id(store):
    """An id given as text is refused with the way to make an Id of it."""
    for use in (store.load, store.delete, lambda text: store.update(text, lambda record: record)):
        with pytest.raises(TypeError, match=r"Id\.parse"):
            use("mlgwO8-5u_-Fz9g15_X-mQ")


def test_records_that_cannot_be_read_are_skipped(store, tree, new_record, caplog):
    """Listing goes past what `load` cannot read, another key's record included, and counts it in one log line."""
    record = new_record()
    store.save(record)
    tree.insert(b"\0" * 16, b"garbage")
    tree.insert(b"\1" * 16, b"garbage")
    tree.insert(b"\2" * 16, record.encode())
    assert list(store.records()) == [record]
    assert caplog.messages == ["skipped 3 records that cannot be read"]


def test_a_strategy_by_its_value(tree, store, new_record):
    """A strategy given as its value's text is that strategy, and no other word drops the index or scans."""
    store.save(new_record(-1))
    assert SledStore(tree, strategy="index", clock=store.clock).verify_index().entries == 1
    for use in (lambda word: SledStore(tree, strategy=word), store.delete_expired):
        with pytest.raises(ValueError, match="'indexed' is not a valid SweepStrategy"):
            use("indexed")
    assert store.delete_expired("index").strategy is SweepStrategy.EXPIRY_INDEX


def test_what_a_store_is_made_of(tmp_path):
    """A path instead of a tree names `SledStore.open`; a resolution in seconds is refused."""
    with pytest.raises(TypeError, match=r"SledStore\.open\(path\)"):
        SledStore(tmp_path / "storage")
    with pytest.raises(TypeError, match="resolution must be a timedelta, not int"):
        SledStore.open(tmp_path / "storage", resolution=1)
