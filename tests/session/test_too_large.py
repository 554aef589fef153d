"""Values that no record of the store can hold."""

from datetime import timedelta

import pytest

from sled_sessions import CachingStore, Id, MemoryStore, Record, RecordTooLarge, SledStore
from sled_sessions.session import SessionManager
from sled_sessions.stores.observed import observe

BIG = ["x" * 300]


@pytest.fixture
def limited(tmp_path, clock):
    with SledStore.open(tmp_path, max_record_bytes=200, clock=clock) as store:
        yield store


@pytest.fixture
def manager(limited, clock):
    return SessionManager(limited, clock=clock)


@pytest.mark.parametrize("value", [BIG, BIG[0], {"a": BIG}, tuple(BIG), [[]] * 300, {BIG[0]: 1}, [{1}] * 300])
def test_refused_when_it_is_set(manager, value):
    """Setting a value that no record can hold raises, and the session stays as it was."""
    session = manager.open()
    session["a"] = 1
    with pytest.raises(RecordTooLarge, match=r"^session\['a'\] has \d\d\d bytes, and max_record_bytes is 200; keep"):
        session["a"] = value
    assert dict(session) == {"a": 1}


def test_a_long_key(manager):
    """A key that no record can hold is refused, and not shown whole."""
    with pytest.raises(RecordTooLarge, match=r"has 30\d bytes") as caught:
        manager.open()["k" * 298] = 1
    assert "k" * 41 not in str(caught.value)


def test_refused_when_it_has_grown(manager, limited):
    """A list that has grown too large in place is refused by the commit, and the store keeps the old one."""
    with manager.session() as session:
        session["list"] = [1]
    session["list"].extend(BIG)
    with pytest.raises(RecordTooLarge, match=r"session\['list'\] has 30\d bytes"):
        manager.commit(session)
    assert limited.load(session.id).data == {"list": [1]}


def test_together_too_large(manager, limited):
    """Values that fit one by one but not together are refused by the store."""
    session = manager.open()
    session.update(a="x" * 150, b="x" * 150)
    with pytest.raises(RecordTooLarge, match=r"^the record has 3\d\d bytes"):
        manager.commit(session)
    assert limited.count() == 0


def test_a_stored_value_above_the_limit(limited, manager, clock):
    """A session that another store has written with a higher limit can be read, shrunk and ended."""
    large = SledStore(limited.tree, clock=clock)
    record = large.create(Record(Id.new(), {"list": BIG}, clock() + timedelta(hours=1)))
    session = manager.open(record.id)
    assert session["list"] == BIG
    manager.commit(session)
    session["list"].clear()
    session["n"] = 1
    manager.commit(session)
    assert limited.load(record.id).data == {"list": [], "n": 1}


def test_the_limit_of_a_wrapped_store(limited, clock):
    """The limit is that of the innermost store, however it is wrapped; a store without one refuses nothing."""
    for store in (observe(limited, lambda call: None), CachingStore(MemoryStore(clock=clock), limited)):
        with pytest.raises(RecordTooLarge):
            SessionManager(store).open()["a"] = BIG
    SessionManager(MemoryStore(clock=clock)).open()["a"] = BIG
