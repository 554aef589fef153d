"""Opening what exists: with the index that it has, whatever that is."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from operate.databases import contents

from sled_sessions import Id, Record, SledStore, sled
from sled_sessions.operate import OperationError, opened_store

FUTURE = datetime(2099, 1, 1, tzinfo=UTC)


def test_an_index_in_another_tree_is_the_one_that_is_used(tmp_path):
    """An index that was given its own tree and step is found by its marker; none is built beside it."""
    with sled.open(tmp_path / "db") as db:
        store = SledStore(db.open_tree("session"), index=db.open_tree("by date"), resolution=timedelta(minutes=1))
        store.save(Record(Id.new(), {}, FUTURE))
    before = contents(tmp_path / "db")
    with opened_store(tmp_path / "db") as store:
        assert store.resolution == timedelta(minutes=1)
        assert store.verify_index().entries == 1
    assert contents(tmp_path / "db") == before


def test_an_index_of_a_newer_version_is_left_alone(tmp_path):
    """What a newer program has built is neither used nor dropped; the error says what to do."""
    with SledStore.open(tmp_path / "db") as store:
        store.save(Record(Id.new(), {}, FUTURE))
        marker = msgspec.msgpack.encode({"version": 2, "resolution_us": 1_000_000})
        store.tree.db.open_tree("session:meta").insert(b"expiry_index", marker)
    before = contents(tmp_path / "db")
    with pytest.raises(OperationError, match="newer sled_sessions"), opened_store(tmp_path / "db"):
        pass
    assert contents(tmp_path / "db") == before
