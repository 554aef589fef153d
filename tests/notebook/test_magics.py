"""The magics that work on an open store, and what all magics share."""

import asyncio
import subprocess
import sys

import pytest
from sessions import SCRIPT, SECRET, id_of, new_record

from sled_sessions import MemoryStore, SweepStrategy, sled
from sled_sessions.display.table import Table
from sled_sessions.stores.sled import indexed_tree


def test_importing_the_package_is_cheap():
    """Importing the package, or its notebook functions, imports neither IPython nor matplotlib nor tqdm."""
    code = "import sled_sessions.notebook, sys; print({'IPython', 'matplotlib', 'tqdm', 'pandas'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_sessions_by_page(run, store):
    """%sessions shows a page of sessions in the order of their ids, without whole ids, secrets or markup."""
    first, second = (run(f"%sessions --size 7 --page {page}")[0].result for page in (1, 2))
    assert isinstance(first, Table)
    assert [len(page.rows) for page in (first, second)] == [7, 5]
    assert first.note == "more: --page 2"
    assert second.note == ""
    ids = sorted((id_of(number) for number in range(12)), key=bytes)
    assert [row[0] for row in (*first.rows, *second.rows)] == [f"{str(id)[:4]}…" for id in ids]
    for shown in (repr(first), first._repr_html_()):
        assert not any(text in shown for text in (SECRET, str(ids[0])))
    assert SCRIPT not in first._repr_html_()


def test_sessions_filtered(run, store, ipython):
    """%sessions filters by expiry and value, and as a cell magic by an expression with the notebook's variables."""

    def found(cell):
        result, printed = run(cell)
        assert result.success, printed
        return len(result.result.rows)

    assert found("%sessions --live") == 10
    assert found("%sessions --expired") == 2
    assert found("%sessions --where number=3") == 1
    assert found("%sessions --where number=3 --where csrf_token=other") == 0
    assert found("%sessions --where 'name=" + SCRIPT.replace("'", "'\"'\"'") + "'") == 12
    ipython.user_ns["wanted"] = (3, 5)
    assert found("%%sessions --live\nany(data['number'] == each for each in wanted)") == 2
    assert found("%%sessions\nrecord.id == store.expiring().__next__()[1]") == 1


def test_where_is_that_of_the_command_line(run, store):
    """--where takes a path and JSON, like `sled-sessions list`."""
    store.save(new_record(user={"name": "ann"}, tags=["a", "b"]))
    for condition in ("user.name=ann", '\'tags=["a","b"]\'', '\'user={"name": "ann"}\''):
        result, printed = run(f"%sessions --where {condition}")
        assert len(result.result.rows) == 1, printed


def test_sessions_revealed(run, store):
    """--reveal shows whole ids and secrets."""
    shown = repr(run("%sessions --where number=3 --reveal")[0].result)
    assert str(id_of(3)) in shown
    assert SECRET in shown


def test_sessions_mistakes(run_failing, store, ipython):
    """A missing store, a variable of another type, a bad page, filter or expression: a one-line error each."""
    ipython.user_ns["number"] = 1
    run_failing("%sessions nosuch", "nosuch", "%sessions_open")
    run_failing("%sessions number", "number is of type int", "SledStore")
    run_failing("%sessions --page 0", "--page")
    run_failing("%sessions --page one", "one")
    run_failing(f"%sessions --size {10**20}", "--size")
    run_failing(f"%sessions --page {2**62} --size 2", "--page")
    run_failing("%sessions --where number", "KEY=VALUE")
    run_failing("%sessions --live --expired", "--live", "--expired")
    run_failing("%%sessions\nnumber =", "expression")
    run_failing("%%sessions\ndata['absent'] > 1", "KeyError", "absent")
    ipython.user_ns.pop("number")


def test_sweep(run, store):
    """%sessions_sweep deletes expired sessions: up to a limit, with either strategy, as of another moment."""
    assert run("%sessions_sweep --limit 1")[0].result.deleted == 1
    assert run("%sessions_sweep --strategy full-scan")[0].result.strategy is SweepStrategy.FULL_SCAN
    assert store.count() == 10
    assert run("%sessions_sweep --now +5min --budget 10s")[0].result.deleted == 5
    assert run("%sessions_sweep --now -7d")[0].result.deleted == 0
    assert run("%sessions_sweep --now 2031-01-01")[0].result.deleted == 5


def test_sweep_mistakes(run_failing, store):
    """An unknown strategy, moment or duration is a one-line error, and deletes nothing."""
    run_failing("%sessions_sweep --strategy magic", "index", "full-scan")
    run_failing("%sessions_sweep --now yesterday", "yesterday", "-7d")
    run_failing("%sessions_sweep --budget soon", "30s")
    assert store.count() == 12


def test_verify_and_rebuild(run, store):
    """%sessions_verify finds a missing index entry, and %sessions_rebuild restores it."""
    index = store.tree.db.open_tree("session:expiry")
    index.remove(next(index.keys()))
    report = run("%sessions_verify")[0].result
    assert not report
    assert report.missing == 1
    assert run("%sessions_rebuild store")[0].result.entries == 12
    assert run("%sessions_verify store")[0].result


@pytest.mark.parametrize("magic", ["sessions_verify", "sessions_time", "sessions_sweep --strategy index"])
def test_store_without_an_index(run, run_failing, ipython, tmp_path, magic):
    """A magic that needs the index reports that the store keeps none, instead of an empty or successful result."""
    run(f"%sessions_open {tmp_path}/storage --create --full-scan")
    run_failing(f"%{magic}", "store keeps no expiry index", "--full-scan")
    assert run("%sessions_sweep")[0].result.strategy is SweepStrategy.FULL_SCAN


def test_incomplete_index(run, run_failing, store, monkeypatch):
    """After an interrupted rebuild the error says to rebuild, and that works."""
    monkeypatch.setattr(indexed_tree, "PROGRESS_STEP", 5)

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.rebuild_index(interrupt)
    run_failing("%sessions_verify", "the expiry index of store is incomplete", "%sessions_rebuild store")
    assert run("%sessions_rebuild store")[0].success
    assert run("%sessions_verify")[0].result.entries == 12


def test_memory_store(run, run_failing, ipython, clock):
    """%sessions_verify refuses a MemoryStore in one line; %sessions_sweep accepts it."""
    ipython.user_ns["memory"] = MemoryStore(clock=clock)
    run_failing("%sessions_verify memory", "MemoryStore")
    assert run("%sessions_sweep memory")[0].success


def test_time_deletes_nothing(run, run_failing, store):
    """%sessions_time runs both strategies on the store itself and deletes no session."""
    table = run("%sessions_time --repeat 2")[0].result
    assert [row[:2] for row in table.rows] == [("index", 0), ("full-scan", 12)]
    assert store.count() == 12
    run_failing("%sessions_time --repeat 0", "--repeat")


def test_expiries(run, store):
    """%sessions_expiries plots the sessions that expire in a span of time, and returns the Axes."""
    assert run("%sessions_expiries")[0].result.get_title("left") == "12 sessions, 2 of them due"
    assert (
        run("%sessions_expiries --from +1min --to +3min --bins 2")[0]
        .result.get_title("left")
        .startswith("2 sessions, 0")
    )


def test_session_cell(run, store, ipython):
    """%%session creates a session or opens one by id, and saves it after the cell has run."""
    assert run("%%session\nsession['cart'] = ['apples']")[0].success
    made = ipython.user_ns["session"].id
    assert run("%%session store --id session\nsession['cart'].append('pears')")[0].success
    assert store.load(made).data == {"cart": ["apples", "pears"]}
    assert run(f"%%session --id {made}\nsession['cart'].clear()")[0].success
    assert store.load(made).data == {"cart": []}


def test_session_cell_that_raises(run, run_failing, store):
    """If the cell raises, or the arguments are wrong, nothing is saved, and the error says so."""
    result, printed = run("%%session\nsession['a'] = 1\n1 / 0")
    assert not result.success
    assert "ZeroDivisionError" in printed
    assert printed.splitlines()[-1].startswith("UsageError: ")
    assert store.count() == 12
    run_failing("%%session --id nosuch\n1", "nosuch")
    run_failing("%%session --id store\n1", "the variable store does not hold a session id")
    run_failing("%%session --id session.id\n1", "neither a session id nor the name of a variable")
    run_failing("%%session --id AAAAAAAAAAAAAAAAAAAAAA\n1", "no live session with this id")
    run_failing("%%session --bogus\n1", "%%session?")


def test_session_cell_that_awaits(run, run_failing, store, ipython):
    """A cell may await where IPython runs a loop for it; in Jupyter, whose loop already runs, the error says how."""
    cell = "%%session\nimport asyncio\nsession['a'] = await asyncio.sleep(0, 1)\n%time"
    assert run(cell)[0].success
    assert store.load(ipython.user_ns["session"].id).data == {"a": 1}

    async def in_jupyter():
        run_failing(cell, "with SessionManager(store).session() as session:")
        assert run("%%session\nsession['a'] = 2")[0].success

    asyncio.run(in_jupyter())
    assert store.count() == 14


def test_closed_store(run_failing, store):
    """The engine's errors also take one line."""
    store.close()
    run_failing("%sessions", "closed")
    run_failing("%sessions_sweep", "closed")


@pytest.mark.parametrize(
    "cell",
    [
        "%sessions_open {folder} --tree none",
        "%sessions_open 'x\x1b[31m'",
        "%sessions a\x1b[31mb",
        "%%session --id '\x1b[31m'\n1",
        "%%sessions\n(_ for _ in ()).throw(Exception('\\x1b[31m\\n'))",
    ],
    ids=str.split("tree folder store id exception"),
)
def test_errors_have_no_control_characters(run_failing, tmp_path, store, cell):
    """Control characters in names of trees and texts of exceptions are escaped in the error's line."""
    with sled.open(tmp_path / "other") as db:
        db.open_tree("a\x1b[31mb\n")
    printed = run_failing(cell.format(folder=tmp_path / "other"), "x1b")
    assert "\x1b" not in printed


@pytest.mark.parametrize(
    "name",
    [
        "sessions",
        "sessions_open",
        "sessions_sweep",
        "sessions_verify",
        "sessions_rebuild",
        "sessions_expiries",
        "sessions_time",
        "session",
    ],
)
def test_help(run, ipython, name):
    """The help of each magic contains its usage."""
    kind = "cell" if name == "session" else "line"
    text = ipython.magics_manager.magics[kind][name].__doc__
    assert "store" in text
    assert f"%{name}" in text or f"%%{name}" in text
