"""How stores, records, sessions, reports and databases show themselves in a notebook."""

import re
import sys
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sessions import SCRIPT, SECRET, id_of, new_record, save_numbered

from sled_sessions import Expiry, MemoryStore, Record, Session, SledStore, SweepReport, SweepStrategy
from sled_sessions.display import text as words
from sled_sessions.operate import check_everything, stats
from sled_sessions.session import SessionManager
from sled_sessions.stores.sled.indexed_tree import IndexReport


@pytest.mark.parametrize("kind", ["sled", "sled without index", "memory"])
def test_store(kind, tmp_path, clock):
    """A store shows its first sessions, with ids shortened, secrets masked and values escaped."""
    strategy = SweepStrategy.FULL_SCAN if kind == "sled without index" else SweepStrategy.EXPIRY_INDEX
    store = (
        MemoryStore(clock=clock) if kind == "memory" else SledStore.open(tmp_path / "s", strategy=strategy, clock=clock)
    )
    assert "no sessions" in store._repr_html_()
    save_numbered(store, 12, expired=2)
    shown = store._repr_html_()
    assert f"{str(id_of(0))[:4]}…" in shown
    assert str(id_of(0)) not in shown
    assert SECRET not in shown
    assert SCRIPT not in shown
    assert "&lt;script&gt;" in shown
    assert shown.count("…</td>") >= words.PAGE
    assert "2030-01-01 11:58:30 UTC (90 s ago)" in shown
    assert "The first 10" in shown


def test_store_counts_to_a_limit(tmp_path, clock):
    """A large store shows ten sessions, and that it has more than it has counted."""
    with SledStore.open(tmp_path / "storage", clock=clock) as store:
        save_numbered(store, words.COUNT_UP_TO)
        assert "<td>1,000</td>" in store._repr_html_()
        save_numbered(store, words.COUNT_UP_TO + 1)
        assert "<td>more than 1,000</td>" in store._repr_html_()


def test_closed_store(tmp_path):
    """A store whose database is closed says so instead of raising."""
    store = SledStore.open(tmp_path / "storage")
    store.close()
    assert "closed" in store._repr_html_()


@pytest.mark.parametrize("strategy", SweepStrategy)
def test_store_of_unreadable_records(tmp_path, clock, caplog, strategy):
    """Unreadable records are counted up to the same limit as sessions: a repr does not read a whole database."""
    with SledStore.open(tmp_path / "storage", strategy=strategy, clock=clock) as store:
        save_numbered(store, words.COUNT_UP_TO + 1)
        keys = list(store.tree.keys())
        if strategy is SweepStrategy.EXPIRY_INDEX:  # in the order of the index the last one is far away
            keys = [id.key for _, id in store.expiring()]
        for key in keys[: words.COUNT_UP_TO]:
            store.tree.insert(key, b"garbage")
        shown = store._repr_html_()
        assert re.search(r"<th>cannot be read</th><td>(999|1,000) of the first 1,000</td>", shown)
        assert "no sessions" not in shown
        assert not caplog.messages


def test_unreadable_records_are_skipped(tmp_path, clock):
    """Unreadable records do not keep the others from being shown."""
    with SledStore.open(tmp_path / "storage", clock=clock) as store:
        save_numbered(store, 2)
        store.tree.insert(bytes(id_of(0)), b"garbage")
        store.tree.insert(bytes(id_of(2)), new_record().encode())
        shown = store._repr_html_()
        assert "<td>2 of the first 3</td>" in shown
        assert f"{str(id_of(1))[:4]}…" in shown
        assert "The first 1," in shown


def test_store_at_the_ends_of_the_calendar(run, store):
    """Sessions that expire at either end of Python's calendar, outside UTC's years, are shown like all others."""
    last = datetime(9999, 12, 31, 23, 0, tzinfo=timezone(timedelta(hours=-5)))
    first = datetime(1, 1, 1, 1, 0, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    store.save(Record(id_of(98), {}, last))
    store.save(Record(id_of(99), {}, first))
    assert "-05:00" in repr(run("%sessions --size 100")[0].result)
    assert "UTC" in store._repr_html_()
    for number in range(12):
        store.delete(id_of(number))
    assert "-05:00" in store._repr_html_()


def test_record():
    """A record shows its data, with its id shortened."""
    record = Record(id_of(1), {"user": SCRIPT, "token": SECRET}, datetime(2030, 1, 1, tzinfo=UTC))
    shown = record._repr_html_()
    assert f"Record {str(id_of(1))[:4]}…" in shown
    assert "2030-01-01 00:00:00 UTC" in shown
    assert not any(text in shown for text in (str(id_of(1)), SCRIPT, SECRET))


def test_session(clock):
    """Showing a session does not load it, and a loaded one shows neither its id nor secrets."""
    sessions = SessionManager(store := MemoryStore(clock=clock), expiry=Expiry.on_inactivity(timedelta(1)), clock=clock)
    with sessions.session() as session:
        session["token"] = SECRET
        assert "none yet" in session._repr_html_()
    assert store.count() == 1
    opened = sessions.open(session.id)
    assert "not loaded" in opened._repr_html_()
    assert not opened.is_loaded
    opened["user"] = SCRIPT
    shown = opened._repr_html_()
    assert "changed" in shown
    assert "2030-01-02 12:00:00 UTC" in shown
    assert not any(text in shown for text in (str(session.id), SCRIPT, SECRET))


@pytest.mark.parametrize("end", [Session.flush, Session.clear, lambda session: session.pop("a")])
def test_session_that_ends(clock, end):
    """A session that was flushed, or has lost its last key, shows that it ends, instead of an expiry."""
    sessions = SessionManager(MemoryStore(clock=clock), clock=clock)
    with sessions.session() as session:
        session["a"] = 1
    id = session.id
    end(session)
    shown = session._repr_html_()
    assert f"{str(id)[:4]}…" in shown
    assert "ends with the commit" in shown
    assert "expires" not in shown
    session["b"] = 2
    assert "expires" in session._repr_html_()
    del session["b"]
    sessions.commit(session)
    assert "ends" not in session._repr_html_()


def test_stored_session_without_data(clock):
    """A stored session without data does not show as ending."""
    store = MemoryStore(clock=clock)
    record = store.create(Record(id_of(1), {}, clock() + timedelta(hours=1)))
    session = SessionManager(store, clock=clock).open(record.id)
    assert len(session) == 0
    assert "as stored" in session._repr_html_()


def _in_itself() -> list[object]:
    itself: list[object] = [{"password": SECRET}]
    itself += [itself, itself]
    return itself


def _too_deep() -> list[object]:
    deep: list[object] = []
    for _ in range(2 * sys.getrecursionlimit()):
        deep = [deep]
    return deep


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (object(), "&lt;object&gt;"),
        ({1}, "&lt;set&gt;"),
        ({("a", 1): 2}, "&lt;"),
        ({1: 2}, "1&quot;: 2"),
        (({"password": SECRET}, SCRIPT), "&lt;script&gt;"),
        ("\ud800", r"\ud800"),
        (_in_itself(), "…"),
        (_too_deep(), "…"),
    ],
    ids=str.split("object set key number tuple surrogate itself deep"),
)
def test_values_that_json_cannot_hold(value, text, clock):
    """Records and sessions with values that JSON cannot hold still show themselves."""
    sessions = SessionManager(MemoryStore(clock=clock), clock=clock)
    with sessions.session() as session:
        session["a"] = []
    session["a"].append(value)
    for shown in (Record(id_of(1), {"a": value, 1: 2, "\ud800": 3}, clock())._repr_html_(), session._repr_html_()):
        assert text in shown
        assert SECRET not in shown
        shown.encode()
    assert "changed" in session._repr_html_()


def test_reports():
    """Reports show their counts with thousands separators and their times in a suitable unit."""
    shown = SweepReport(SweepStrategy.FULL_SCAN, 1234567, 12, seconds=0.00123)._repr_html_()
    assert all(text in shown for text in ("full-scan", "1,234,567", "1.23 ms"))
    assert "server" in SweepReport(None)._repr_html_()
    assert "<td>no</td>" in IndexReport(records=2, missing=1)._repr_html_()
    assert "<td>yes</td>" in IndexReport(records=2)._repr_html_()


@pytest.mark.parametrize("strategy", SweepStrategy)
def test_statistics_and_checks(tmp_path, clock, strategy):
    """Statistics show the sessions and trees of a database; a check shows whether anything is wrong."""
    with SledStore.open(tmp_path / "storage", clock=clock, strategy=strategy) as store:
        assert "<td>-</td>" in stats(store)._repr_html_()
        save_numbered(store, 12, expired=2)
        shown = stats(store)._repr_html_()
        assert all(text in shown for text in ("<td>10</td>", "<td>2</td>", "2030-01-01", "__sled__default"))
        index = "in steps of 1 s" if strategy is SweepStrategy.EXPIRY_INDEX else "none"
        for each in (stats(store), check_everything(store)):
            assert f"<td>{index}</td>" in each._repr_html_()
        assert "<td>yes</td>" in check_everything(store)._repr_html_()
        store.tree.insert(b"k" * 16, b"no record")
        shown = check_everything(store)._repr_html_()
        assert "<td>no</td>" in shown
        assert "<td>1</td>" in shown


def test_database_and_tree(tmp_path, clock):
    """A database shows its trees, and a tree shortened keys without values: a key may be an id, and a value secret."""
    with SledStore.open(tmp_path / "storage", clock=clock) as store:
        save_numbered(store, words.COUNT_UP_TO + 1)
        shown = store.tree.db._repr_html_()
        assert all(text in shown for text in (str(tmp_path), "session:expiry", "more than 1,000"))
        shown = store.tree._repr_html_()
        assert "Tree session" in shown
        assert "more than 1,000" in shown
        assert f"The first {words.PAGE}" in shown
        assert shown.count("…</td>") == words.PAGE
        assert not any(text in shown for text in ("script", SECRET))
        name = SCRIPT.encode() + b"\xff"
        assert SCRIPT not in store.tree.db.open_tree(name)._repr_html_() + store.tree.db._repr_html_()
        for number in range(words.PAGE):
            store.tree.db.open_tree(f"tree {number}")
        assert "and 5 more" in store.tree.db._repr_html_()
    assert "closed" in store.tree._repr_html_()
    assert "closed" in store.tree.db._repr_html_()
