"""SledStore: opening, closing, and how it refuses misuse."""

from datetime import datetime, timedelta

import attrs
import pytest
from sessions import uses

from sled_sessions import BackendError, DecodeError, EncodeError, RecordTooLarge, SledStore, SweepStrategy, sled


@pytest.fixture
def store(tree, clock):
    return SledStore(tree, clock=clock)


def test_dropped_tree_can_be_opened_again(db, clock, new_record):
    """A store on a tree that was dropped and created again works; a store on the dropped tree raises."""
    old = SledStore(db.open_tree("session"), clock=clock)
    old.save(new_record())
    db.drop_tree("session")
    store = SledStore(db.open_tree("session"), clock=clock)
    record = store.create(new_record(n=1))
    assert list(store.records()) == [record]
    with pytest.raises(BackendError, match="dropped"):
        old.load(record.id)


def test_default_tree(db, clock, new_record):
    """The database itself, which is its default tree, can hold sessions like any other tree."""
    store = SledStore(db, clock=clock)
    store.save(new_record(-1))
    assert store.verify_index().entries == 1
    assert store.delete_expired().deleted == 1


def test_reopening_keeps_records_and_index(tmp_path, new_record):
    """After closing and reopening all records are there, and the index is not rebuilt."""
    record = new_record(10**9)
    with SledStore.open(tmp_path / "storage") as store:
        store.save(record)
    with SledStore.open(tmp_path / "storage", progress=lambda done, total: pytest.fail("built again")) as store:
        assert store.load(record.id) == record
        assert store.verify_index().entries == 1


def test_open_passes_options_to_the_store(tmp_path, clock, new_record):
    """`SledStore.open` takes the options of `SledStore`."""
    with SledStore.open(tmp_path, strategy=SweepStrategy.FULL_SCAN, max_record_bytes=200, clock=clock) as store:
        assert store.resolution is None
        with pytest.raises(RecordTooLarge):
            store.save(new_record(text="x" * 200))


def test_closing_leaves_a_given_database_open(tree, clock, new_record):
    """Closing a store closes the database only if the store opened it."""
    with SledStore(tree, clock=clock) as store:
        store.save(new_record())
    assert len(tree) == 1


def test_closed_store_raises(tmp_path, new_record):
    """Every call after `close` raises a BackendError that is a ClosedError, too; closing twice is allowed."""
    store = SledStore.open(tmp_path / "storage")
    store.close()
    store.close()
    for use in (*uses(store, new_record()), store.delete_expired):
        with pytest.raises(BackendError) as caught:
            use()
        assert isinstance(caught.value, sled.ClosedError)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"resolution": timedelta(0)}, ValueError, "microsecond"),
        ({"resolution": timedelta.max}, ValueError, "years"),
        ({"resolution": 1}, TypeError, "timedelta"),
        ({"clock": datetime.now}, EncodeError, "what the clock returns must be an aware datetime"),
    ],
)
def test_failed_open_closes_the_database(tmp_path, options, error, message):
    """When `open` fails after opening the database, it closes the database again."""
    with pytest.raises(error, match=message) as held:
        SledStore.open(tmp_path / "storage", **options)
    SledStore.open(tmp_path / "storage").close()
    assert held.tb  # the traceback still refers to the first database


def test_too_large_record_is_refused(store, new_record):
    """A record above the limit raises an error with both sizes, and the stored session stays unchanged."""
    record = new_record(text="x")
    store.save(record)
    with pytest.raises(RecordTooLarge, match=r"65,\d\d\d bytes.*65,536"):
        store.save(attrs.evolve(record, data={"text": "x" * 65_536}))
    assert store.load(record.id) == record
    store.save(attrs.evolve(record, data={"text": "x" * 65_000}))


def test_record_under_another_id_is_refused(store, tree, new_record):
    """Loading an id whose bytes are another session's record raises DecodeError."""
    mine, other = new_record(), new_record(secret=1)
    tree.insert(mine.id.key, other.encode())
    with pytest.raises(DecodeError, match="another"):
        store.load(mine.id)


def test_text_id_is_refused(store):
    """An id given as text raises TypeError, which names `Id.parse`."""
    for use in (store.load, store.delete, lambda text: store.update(text, lambda record: record)):
        with pytest.raises(TypeError, match=r"Id\.parse"):
            use("mlgwO8-5u_-Fz9g15_X-mQ")


def test_records_skips_unreadable_ones(store, tree, new_record, caplog):
    """`records` skips what `load` could not read, including a record under another key, and logs the count once."""
    record = new_record()
    store.save(record)
    tree.insert(b"\0" * 16, b"garbage")
    tree.insert(b"\1" * 16, b"garbage")
    tree.insert(b"\2" * 16, record.encode())
    assert list(store.records()) == [record]
    assert caplog.messages == ["skipped 3 records that could not be decoded"]


def test_strategy_by_value(tree, store, new_record):
    """A strategy can be given as text; unknown text is refused before anything is dropped or swept."""
    store.save(new_record(-1))
    assert SledStore(tree, strategy="index", clock=store.clock).verify_index().entries == 1
    for use in (lambda word: SledStore(tree, strategy=word), store.delete_expired):
        with pytest.raises(ValueError, match="'indexed' is not a valid SweepStrategy"):
            use("indexed")
    assert store.delete_expired("index").strategy is SweepStrategy.EXPIRY_INDEX


def test_wrong_argument_types(tmp_path):
    """A path instead of a tree raises an error naming `SledStore.open`; a resolution in seconds is refused."""
    with pytest.raises(TypeError, match=r"SledStore\.open\(path\)"):
        SledStore(tmp_path / "storage")
    with pytest.raises(TypeError, match="resolution must be a timedelta, not int"):
        SledStore.open(tmp_path / "storage", resolution=1)
