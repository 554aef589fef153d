"""SledStore: opening, closing, and what it says to a mistake."""

from datetime import datetime, timedelta

import attrs
import pytest

from sled_sessions import (
    BackendError,
    DecodeError,
    EncodeError,
    RecordTooLarge,
    SledStore,
    SweepStrategy,
    sled,
)


@pytest.fixture
def store(tree, clock):
    return SledStore(tree, clock=clock)


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
    assert caplog.messages == ["skipped 3 records that could not be decoded"]


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
