"""What objects look like: safe, short, and the same in every theme."""

import os
import re
import sys
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_values import JSON
from sessions import SCRIPT, SECRET, id_of, new_record, save_numbered

from sled_sessions import Expiry, MemoryStore, Record, Session, SledStore, SweepReport, SweepStrategy
from sled_sessions.display import html
from sled_sessions.display import text as words
from sled_sessions.display.masking import MASK, is_secret, masked
from sled_sessions.display.table import Table
from sled_sessions.operate import check_everything, stats
from sled_sessions.session import SessionManager
from sled_sessions.stores.shown import steps
from sled_sessions.stores.sled.indexed_tree import IndexReport


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "csrf_token",
        "csrf",
        "api_key",
        "apiKey",
        "SECRET",
        "user.auth",
        "sid",
        "otp",
        "session_cookie",
        "sessionid",
        "userSessionId",
        "session_id",
        "PHPSESSID",
        "JSESSIONID",
        "code_verifier",
        "oauth_state",
        "email-otp",
        "totp",
        "otpCode",
        "bearer",
        "recovery_codes",
        "backupCode",
    ],
)
def test_secret_keys(key):
    """A key whose name says so holds a secret."""
    assert is_secret(key)


@pytest.mark.parametrize(
    "key",
    [
        "user",
        "author",
        "monkey",
        "cart",
        "counter",
        "locale",
        "keyboard",
        "opting",
        "state",
        "verified",
        "discovery",
        "recovery_email",
        "postcode",
        "footprint",
        "possession_id",
        "assess_id",
        "sessions",
    ],
)
def test_other_keys(key):
    """Words that only contain such a name are no secrets."""
    assert not is_secret(key)


def test_masked_at_any_depth():
    """Secrets are masked wherever they lie; whether there is one may be known, and the data itself stays as it is."""
    data = {"a": [{"token": "x", "b": 1}], "password": {"old": "y"}, "has_token": True, "secret": None}
    assert masked(data) == {"a": [{"token": MASK, "b": 1}], "password": MASK, "has_token": True, "secret": None}
    assert data["password"] == {"old": "y"}


@given(st.dictionaries(st.text(), JSON | st.floats()))
def test_no_markup_comes_from_data(data):
    """Whatever a session holds, its HTML has no tag that is not ours."""
    shown = html.data(data) + html.cell(words.data_text(data)) + html.cell(words.data_text(data, reveal=True))
    tags = set(re.findall(r"<[^>]*>?", shown))
    assert tags <= {f"<{end}{tag}>" for tag in ("table", "thead", "tbody", "tr", "th", "td", "p") for end in ("", "/")}


@pytest.mark.parametrize("shown", [html.card("Card", {"a": "$x$"}), Table("Table", ("a",), [("$x$",)])._repr_html_()])
def test_no_formula_comes_from_data(shown):
    """What stands between dollar signs is shown as it is: Jupyter's MathJax, old or new, leaves it alone."""
    assert '<div class="sled-sessions tex2jax_ignore mathjax_ignore"><table>' in shown


@pytest.mark.parametrize("strategy", SweepStrategy)
def test_a_store_of_unreadable_records(tmp_path, clock, caplog, strategy):
    """What cannot be read is counted as far as sessions are, and no farther: a repr reads no whole database."""
    with SledStore.open(tmp_path / "storage", strategy=strategy, clock=clock) as store:
        save_numbered(store, words.COUNT_UP_TO + 1)
        keys = list(store.tree.keys())
        if strategy is SweepStrategy.EXPIRY_INDEX:  # by which the last one is far away
            keys = [id.key for _, id in store.expiring()]
        for key in keys[: words.COUNT_UP_TO]:
            store.tree.insert(key, b"garbage")
        shown = store._repr_html_()
        assert re.search(r"<th>cannot be read</th><td>(999|1,000) of the first 1,000</td>", shown)
        assert "no sessions" not in shown
        assert not caplog.messages


@pytest.mark.parametrize("kind", ["sled", "sled without index", "memory"])
def test_stores(kind, tmp_path, clock):
    """A store shows its first sessions, with ids cut, secrets masked and values escaped."""
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


def test_a_store_counts_to_a_limit(tmp_path, clock):
    """A big store shows a page, and that there are more sessions than it has counted."""
    with SledStore.open(tmp_path / "storage", clock=clock) as store:
        save_numbered(store, words.COUNT_UP_TO)
        assert "<td>1,000</td>" in store._repr_html_()
        save_numbered(store, words.COUNT_UP_TO + 1)
        assert "<td>more than 1,000</td>" in store._repr_html_()


def test_counting_stops():
    """Counting looks at no more than it must to know that there are more."""
    endless = iter(range(10**9))
    assert words.counted(endless) == "more than 1,000"
    assert next(endless) == words.COUNT_UP_TO + 1


def test_a_closed_store(tmp_path):
    """A store whose database is closed says so instead of raising."""
    store = SledStore.open(tmp_path / "storage")
    store.close()
    assert "closed" in store._repr_html_()


def test_unreadable_records_are_passed_over(tmp_path, clock):
    """Garbage among the records does not keep the others from being shown."""
    with SledStore.open(tmp_path / "storage", clock=clock) as store:
        save_numbered(store, 2)
        store.tree.insert(bytes(id_of(0)), b"garbage")
        store.tree.insert(bytes(id_of(2)), new_record().encode())
        shown = store._repr_html_()
        assert "<td>2 of the first 3</td>" in shown
        assert f"{str(id_of(1))[:4]}…" in shown
        assert "The first 1," in shown


def test_a_record():
    """A record shows its data, with the id cut."""
    record = Record(id_of(1), {"user": SCRIPT, "token": SECRET}, datetime(2030, 1, 1, tzinfo=UTC))
    shown = record._repr_html_()
    assert f"Record {str(id_of(1))[:4]}…" in shown
    assert "2030-01-01 00:00:00 UTC" in shown
    assert not any(text in shown for text in (str(id_of(1)), SCRIPT, SECRET))


def test_a_session(clock):
    """Showing a session does not load it, and shows no id and no secret once it is loaded."""
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
def test_what_no_store_can_hold_is_shown(value, text, clock):
    """A record or a session that was given what JSON has not shows itself as any other one does."""
    sessions = SessionManager(MemoryStore(clock=clock), clock=clock)
    with sessions.session() as session:
        session["a"] = []
    session["a"].append(value)
    for shown in (Record(id_of(1), {"a": value, 1: 2, "\ud800": 3}, clock())._repr_html_(), session._repr_html_()):
        assert text in shown
        assert SECRET not in shown
        shown.encode()
    assert "changed" in session._repr_html_()


def test_a_name_that_is_no_text_is_shown_as_it_is():
    """The surrogates by which Python writes a file's name that is not UTF-8 stay what they are."""
    name = os.fsdecode(b"caf\xe9")
    assert html.cell(name) == name


@pytest.mark.parametrize("end", [Session.flush, Session.clear, lambda session: session.pop("a")])
def test_a_session_that_ends(clock, end):
    """A session that was flushed, or has lost its last key, shows that it ends, and no date that it would not see."""
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


def test_a_session_without_data_that_is_stored(clock):
    """A session that others have stored without data does not end by being looked at."""
    store = MemoryStore(clock=clock)
    record = store.create(Record(id_of(1), {}, clock() + timedelta(hours=1)))
    session = SessionManager(store, clock=clock).open(record.id)
    assert len(session) == 0
    assert "as stored" in session._repr_html_()


def test_reports():
    """Reports show what they counted, with thousands marked and times in a unit that suits them."""
    shown = SweepReport(SweepStrategy.FULL_SCAN, 1234567, 12, seconds=0.00123)._repr_html_()
    assert all(text in shown for text in ("full-scan", "1,234,567", "1.23 ms"))
    assert "server" in SweepReport(None)._repr_html_()
    assert "<td>no</td>" in IndexReport(records=2, missing=1)._repr_html_()
    assert "<td>yes</td>" in IndexReport(records=2)._repr_html_()


@pytest.mark.parametrize("strategy", SweepStrategy)
def test_what_is_told_of_a_database(tmp_path, clock, strategy):
    """Statistics show the state of the sessions and the trees, a check whether anything is wrong."""
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


def test_a_table_looks_alike_in_text_and_html():
    """A table has the same cells on a terminal and in a notebook."""
    table = Table(
        "Ages", ("who", "born", "took"), [("<ada>", 1815, words.elapsed(2)), ("bob", None, "")], "That is all."
    )
    assert repr(table).splitlines() == [
        "Ages",
        "who     born  took",
        "-----  -----  ----",
        "<ada>  1,815   2 s",
        "bob        -",
        "That is all.",
    ]
    shown = table._repr_html_()
    assert all(text in shown for text in ("Ages", "<td>&lt;ada&gt;</td>", 'class="number">1,815<', "That is all."))
    assert shown.count('<th class="number">') == 2
    assert repr(Table("None", ("who",), [])) == "None\nwho\n---"


def test_a_table_has_a_value_for_each_column():
    """Rows of another length are refused where they are made, and not where they are shown."""
    with pytest.raises(ValueError, match="a row has 1 value, and the table 2 columns"):
        Table("Ages", ("who", "born"), [("ada", 1815), ("bob",)])


def test_columns_of_numbers():
    """A column is one of numbers when nothing else is in it; words, truths and empty columns are not."""
    rows = [(1, 2.5, words.size(3), "4", True, None), (None, "", "", "5", False, "")]
    assert words.numeric("abcdef", rows) == [True, True, True, False, False, False]


def test_a_long_key_is_cut():
    """A key is shown as short as a value is, unless all shall be seen."""
    assert "k" * 100 not in html.data({"k" * 100: 1})
    assert "k" * 100 in html.data({"k" * 100: 1}, reveal=True)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (2, "2 s"),
        (0.5, "500 ms"),
        (1.5e-3, "1.5 ms"),
        (2e-6, "2 µs"),
        (119, "119 s"),
        (0, "0 µs"),
        (0.00099961, "1 ms"),
        (0.99996, "1 s"),
        (1234.5, "1,230 s"),
    ],
)
def test_elapsed(seconds, text):
    """A measured time is shown to three digits, in the unit that it has when it is rounded to these."""
    assert words.elapsed(seconds) == text


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (timedelta(seconds=90), "90 s"),
        (timedelta(minutes=2), "2 min"),
        (timedelta(hours=5), "5 h"),
        (timedelta(days=14), "14 days"),
        (timedelta(days=26000), "71 years"),
        (timedelta(milliseconds=500), "500 ms"),
    ],
)
def test_duration(span, text):
    """A span of time is shown in its largest unit that has two of it."""
    assert words.duration(span) == text


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (0, "0 B"),
        (398, "398 B"),
        (524287, "524 kB"),
        (83_300_000, "83.3 MB"),
        (999_600, "1 MB"),
        (1_234_000_000_000, "1,230 GB"),
    ],
)
def test_size(octets, text):
    """A number of bytes is shown to three digits, in the unit that it has when it is rounded to these."""
    assert words.size(octets) == text


@pytest.mark.parametrize(
    ("resolution", "text"),
    [
        (timedelta(seconds=1), "1 s"),
        (timedelta(seconds=1.5), "1.5 s"),
        (timedelta(milliseconds=2500), "2.5 s"),
        (timedelta(seconds=90), "90 s"),
        (timedelta(minutes=5), "5 min"),
        (timedelta(minutes=150), "150 min"),
        (timedelta(hours=60), "60 h"),
        (timedelta(days=731), "731 days"),
        (timedelta(milliseconds=500), "500 ms"),
        (timedelta(microseconds=1), "1 µs"),
        (timedelta(days=2, microseconds=1), "172800.000001 s"),
    ],
)
def test_a_resolution_is_not_rounded(resolution, text):
    """The step of an index is shown exactly: what is wrong by a digit is another index."""
    assert steps(resolution) == f"in steps of {text}"


@pytest.mark.parametrize(("number", "text"), [(0, "0 keys"), (1, "1 key"), (2000, "2,000 keys")])
def test_plural(number, text):
    """One of it is shown without an s."""
    assert words.plural(number, "key") == text


def test_the_year_has_four_digits():
    """Early years are shown as ISO 8601 has them."""
    assert words.moment(datetime(33, 1, 2, tzinfo=UTC)) == "0033-01-02 00:00:00 UTC"


def test_a_database_and_a_tree(tmp_path, clock):
    """A database shows its trees and a tree its keys, both in part: a key may be a session's id, and values secrets."""
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
