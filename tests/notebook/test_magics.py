"""The magics, in IPython's own testing shell."""

import asyncio
import subprocess
import sys
from datetime import timedelta, timezone

import pytest
from sessions import SCRIPT, SECRET, id_of, save_numbered

from sled_sessions import MemoryStore, SledStore, SweepStrategy, sled
from sled_sessions.display import durations
from sled_sessions.display.table import Table
from sled_sessions.notebook.arguments import moment
from sled_sessions.stores.sled import indexed_tree


def assert_one_line(outcome, *words):
    """A mistake was told in one line that has these words."""
    result, printed = outcome
    assert not result.success
    assert printed.startswith("UsageError: ")
    assert printed.count("\n") == 1
    for word in words:
        assert word in printed


def test_importing_the_package_is_cheap():
    """Importing the package, or its notebook functions, imports neither IPython nor matplotlib nor tqdm."""
    code = "import sled_sessions.notebook, sys; print({'IPython', 'matplotlib', 'tqdm', 'pandas'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_open_binds_a_store(run, ipython, tmp_path):
    """%sessions_open makes a database when asked to, and binds its store to the name that is asked for."""
    result, _ = run(f"%sessions_open {tmp_path}/new --create --as shop --tree carts --resolution 5min")
    assert result.success
    shop = ipython.user_ns["shop"]
    assert result.result is shop
    assert shop.tree.name == b"carts"
    assert shop.resolution == timedelta(minutes=5)


def test_open_a_folder_with_a_blank(run, ipython, tmp_path):
    """Quotes hold a path with a blank together."""
    assert run(f"%sessions_open '{tmp_path}/my sessions' --create")[0].success
    assert ipython.user_ns["store"].tree.db.path.name == "my sessions"


def test_open_again(run, ipython, tmp_path):
    """Running the same cell again works: the store it opened before is closed first."""
    for options in ("--create", "--full-scan", ""):
        assert run(f"%sessions_open {tmp_path}/new {options}")[0].success
    assert ipython.user_ns["store"].strategy is SweepStrategy.EXPIRY_INDEX


def test_open_two_folders_in_turn(run, ipython, tmp_path):
    """What this magic opened and no name is left of, it closes to open the folder again, be it in IPython's outputs."""
    for folder in "abab":
        result, printed = run(f"%sessions_open {tmp_path}/{folder} --create")
        assert result.success, printed
        assert result.result.tree.db.path.name == folder
        assert result.result.count() == 0
    assert run(f"store = None\n%sessions_open {tmp_path}/a --as other")[0].success
    assert run("%reload_ext sled_sessions")[0].success
    assert run(f"%sessions_open {tmp_path}/a --as other")[0].success


def test_a_name_that_a_start_up_file_has_given(run, ipython, tmp_path):
    """A store is in use under such a name as well, which IPython counts among its own."""
    assert run(f"%sessions_open {tmp_path}/storage --create --as first")[0].success
    ipython.user_ns_hidden["first"] = ipython.user_ns["first"]
    assert_one_line(run(f"%sessions_open {tmp_path}/storage --as second"), "open as first;", "first.close()")


def test_the_url_of_a_server(run, tmp_path, monkeypatch):
    """It is no folder, to be made or not, and the error does not show its password."""
    monkeypatch.chdir(tmp_path)
    for create in ("", " --create"):
        result, printed = run(f"%sessions_open redis://:secret@localhost{create}")
        assert_one_line((result, printed), "a server's URL")
        assert "secret" not in printed
    assert not any(tmp_path.iterdir())


def test_open_under_another_name(run, ipython, tmp_path):
    """A store that has a name is not closed to be opened under another one: the error says its name and the cure."""
    assert run(f"%sessions_open {tmp_path}/storage --create --as first")[0].success
    assert_one_line(run(f"%sessions_open {tmp_path}/storage --as second"), "open as first;", "first.close()")
    first = ipython.user_ns["first"]
    assert first.count() == 0
    assert run("first.close()")[0].success
    assert run(f"%sessions_open {tmp_path}/storage --as second")[0].success
    second = ipython.user_ns["second"]
    carts = ipython.user_ns["carts"] = SledStore(second.tree.db.open_tree("carts"))
    assert run("second = None")[0].success
    assert_one_line(run(f"%sessions_open {tmp_path}/storage --as third"), "open as carts;", "carts.tree.db.close()")
    assert carts.count() == 0
    assert run("carts.tree.db.close()")[0].success
    assert run(f"%sessions_open {tmp_path}/storage --as third")[0].success


def test_open_closes_no_store_that_was_opened_by_hand(run, store):
    """A store of that name that this magic did not open stays open, and the error says how to close it."""
    for options in ("", "--tree sesion"):
        folder = store.tree.db.path
        assert_one_line(run(f"%sessions_open {folder} {options}"), "open as store;", "store.tree.db.close()")
        assert store.count() == 12


def test_open_builds_the_index(run, ipython, rust_storage):
    """%sessions_open on what Rust wrote gives a store with an index that is whole."""
    assert run(f"%sessions_open {rust_storage}")[0].success
    assert ipython.user_ns["store"].verify_index().entries == 60


@pytest.mark.parametrize("option", ["", "--create"])
def test_open_keeps_the_resolution(run, tmp_path, option):
    """Without --resolution an index stays as it is, entry by entry; with it, it is built anew in those steps."""
    with SledStore.open(tmp_path / "storage", resolution=timedelta(minutes=5)) as store:
        save_numbered(store, 12)
        entries = list(store.tree.db.open_tree("session:expiry").keys())
    for resolution in ("", "", "--resolution 5min"):  # by no store that is open, and by one
        store = run(f"%sessions_open {tmp_path}/storage {option} {resolution}")[0].result
        assert store.resolution == timedelta(minutes=5)
        assert list(store.tree.db.open_tree("session:expiry").keys()) == entries
    store = run(f"%sessions_open {tmp_path}/storage {option} --resolution 1s")[0].result
    assert list(store.tree.db.open_tree("session:expiry").keys()) != entries
    assert store.verify_index().entries == 12


def test_open_mistakes(run, tmp_path, store):
    """A wrong path, a locked database, a bad name, option or duration: one line each, and nothing is made."""
    nowhere = tmp_path / "nowhere"
    assert_one_line(run(f"%sessions_open {nowhere}"), str(nowhere), "--create")
    assert not nowhere.exists()
    assert_one_line(run(f"%sessions_open {store.tree.db.path} --as other"), "open")
    assert_one_line(run(f"%sessions_open {nowhere} --create --as 1st"), "1st")
    assert_one_line(run(f"%sessions_open {nowhere} --create --as class"), "class")
    assert_one_line(run("%sessions_open ~nobody_of_this_name/storage"), "nobody_of_this_name")
    assert_one_line(run("%sessions_open --create ''"), "empty")
    assert_one_line(run(f"%sessions_open {nowhere} --bogus"), "--bogus", "%sessions_open?")
    assert_one_line(run(f"%sessions_open {nowhere} --create --resolution soon"), "soon", "30s")
    assert_one_line(run(f"%sessions_open {nowhere} --create --resolution 0s"), "resolution")
    assert_one_line(run("%sessions_open"), "path")
    assert_one_line(run("%sessions_open 'half"), "quotation")
    assert not nowhere.exists()


def test_open_makes_no_tree_by_mistake(run, ipython, tmp_path, store):
    """Without --create a tree that is missing is told with those that are there; a tree of an index is never opened."""
    folder, names = store.tree.db.path, store.tree.db.tree_names()
    store.close()
    assert run(f"%sessions_open {folder}")[0].success
    for _ in ("by a store that is open", "by none"):
        assert_one_line(run(f"%sessions_open {folder} --tree sesion"), "no tree 'sesion'", "session")
        assert_one_line(run(f"%sessions_open {folder} --tree session:expiry"), "index of 'session'")
        ipython.user_ns["store"].close()
    with sled.open(folder) as db:
        assert db.tree_names() == names
    assert_one_line(run(f"%sessions_open {tmp_path}/new --create --tree cart:expiry"), "'cart:expiry'")
    assert not (tmp_path / "new").exists()


def test_open_mistakes_leave_the_store_open(run, ipython, store):
    """What is refused closes nothing: the store that has the name goes on."""
    store.close()
    store = run(f"%sessions_open {store.tree.db.path}")[0].result
    for mistake in ("--resolution 1w", "--resolution 0s", "--resolution 999999999d", "--tree sesion"):
        assert not run(f"%sessions_open {store.tree.db.path} {mistake}")[0].success
        assert store.count() == 12


def test_sessions_by_page(run, store):
    """%sessions shows a page of sessions in the order of their ids, with nothing in it that should not be seen."""
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
    """%sessions filters by expiry and by value, and as a cell magic by an expression that sees the notebook's names."""

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


def test_sessions_revealed(run, store):
    """--reveal shows whole ids and secrets."""
    shown = repr(run("%sessions --where number=3 --reveal")[0].result)
    assert str(id_of(3)) in shown
    assert SECRET in shown


def test_sessions_mistakes(run, store, ipython):
    """No such store, no store at all, a bad page, filter or expression: one line each."""
    ipython.user_ns["number"] = 1
    assert_one_line(run("%sessions nosuch"), "nosuch", "%sessions_open")
    assert_one_line(run("%sessions number"), "number is of type int", "SledStore")
    assert_one_line(run("%sessions --page 0"), "--page")
    assert_one_line(run("%sessions --page one"), "one")
    assert_one_line(run(f"%sessions --size {10**20}"), "--size")
    assert_one_line(run(f"%sessions --page {2**62} --size 2"), "--page")
    assert_one_line(run("%sessions --where number"), "KEY=VALUE")
    assert_one_line(run("%sessions --live --expired"), "--live", "--expired")
    assert_one_line(run("%%sessions\nnumber ="), "expression")
    assert_one_line(run("%%sessions\ndata['absent'] > 1"), "KeyError", "absent")
    ipython.user_ns.pop("number")


def test_sweep(run, store):
    """%sessions_sweep deletes what is due: at most so many, by either strategy, at another moment."""
    assert run("%sessions_sweep --limit 1")[0].result.deleted == 1
    assert run("%sessions_sweep --strategy full-scan")[0].result.strategy is SweepStrategy.FULL_SCAN
    assert store.count() == 10
    assert run("%sessions_sweep --now +5min --budget 10s")[0].result.deleted == 5
    assert run("%sessions_sweep --now -7d")[0].result.deleted == 0
    assert run("%sessions_sweep --now 2031-01-01")[0].result.deleted == 5


def test_sweep_mistakes(run, store):
    """A strategy, moment or duration that there is not is one line, and deletes nothing."""
    assert_one_line(run("%sessions_sweep --strategy magic"), "index", "full-scan")
    assert_one_line(run("%sessions_sweep --now yesterday"), "yesterday", "-7d")
    assert_one_line(run("%sessions_sweep --budget soon"), "30s")
    assert store.count() == 12


def test_verify_and_rebuild(run, store):
    """%sessions_verify finds what is wrong with the index, and %sessions_rebuild repairs it."""
    index = store.tree.db.open_tree("session:expiry")
    index.remove(next(index.keys()))
    report = run("%sessions_verify")[0].result
    assert not report
    assert report.missing == 1
    assert run("%sessions_rebuild store")[0].result.entries == 12
    assert run("%sessions_verify store")[0].result


@pytest.mark.parametrize("magic", ["sessions_verify", "sessions_time", "sessions_sweep --strategy index"])
def test_what_needs_an_index_says_that_there_is_none(run, ipython, tmp_path, magic):
    """Of an index that a store does not keep nothing is reported: no time, no sweep, and not that it agrees."""
    run(f"%sessions_open {tmp_path}/storage --create --full-scan")
    assert_one_line(run(f"%{magic}"), "store keeps no expiry index", "--full-scan")
    assert run("%sessions_sweep")[0].result.strategy is SweepStrategy.FULL_SCAN


def test_what_needs_an_index_says_that_it_is_not_whole(run, store, monkeypatch):
    """After a rebuild that was interrupted the cure is to rebuild, and it works."""
    monkeypatch.setattr(indexed_tree, "PROGRESS_STEP", 5)

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.rebuild_index(interrupt)
    assert_one_line(run("%sessions_verify"), "the expiry index of store is not whole", "%sessions_rebuild store")
    assert run("%sessions_rebuild store")[0].success
    assert run("%sessions_verify")[0].result.entries == 12


def test_only_a_sled_store_has_an_index_to_verify(run, ipython, clock):
    """What a store cannot do is said in one line."""
    ipython.user_ns["memory"] = MemoryStore(clock=clock)
    assert_one_line(run("%sessions_verify memory"), "MemoryStore")
    assert run("%sessions_sweep memory")[0].success


def test_time_deletes_nothing(run, store):
    """%sessions_time runs both strategies on the store itself, and leaves every session there."""
    table = run("%sessions_time --repeat 2")[0].result
    assert [row[:2] for row in table.rows] == [("index", 0), ("full-scan", 12)]
    assert store.count() == 12
    assert_one_line(run("%sessions_time --repeat 0"), "--repeat")


def test_expiries(run, store):
    """%sessions_expiries draws the sessions of a span of time, and gives the Axes."""
    assert run("%sessions_expiries")[0].result.get_title("left") == "12 sessions, 2 of them due"
    assert (
        run("%sessions_expiries --from +1min --to +3min --bins 2")[0]
        .result.get_title("left")
        .startswith("2 sessions, 0")
    )


def test_a_cell_with_a_session(run, store, ipython):
    """%%session makes a session, opens it again by id, and saves it when the cell has run."""
    assert run("%%session\nsession['cart'] = ['apples']")[0].success
    made = ipython.user_ns["session"].id
    assert run("%%session store --id session.id\nsession['cart'].append('pears')")[0].success
    assert store.load(made).data == {"cart": ["apples", "pears"]}
    assert run(f"%%session --id {made}\nsession['cart'].clear()")[0].success
    assert store.load(made).data == {"cart": []}


def test_a_cell_that_raises_saves_nothing(run, store):
    """When the cell raises, the session stays as it was, and the person is told."""
    result, printed = run("%%session\nsession['a'] = 1\n1 / 0")
    assert not result.success
    assert "ZeroDivisionError" in printed
    assert printed.splitlines()[-1].startswith("UsageError: ")
    assert store.count() == 12
    assert_one_line(run("%%session --id nosuch\n1"), "nosuch")
    assert_one_line(run("%%session --id len\n1"), "len is no session id")
    assert_one_line(run("%%session --id AAAAAAAAAAAAAAAAAAAAAA\n1"), "no live session of this id")
    assert_one_line(run("%%session --bogus\n1"), "%%session?")


def test_a_cell_that_awaits(run, store, ipython):
    """A cell may await where IPython runs a loop for it; in Jupyter, whose loop runs already, it is told how."""
    cell = "%%session\nimport asyncio\nsession['a'] = await asyncio.sleep(0, 1)\n%time"
    assert run(cell)[0].success
    assert store.load(ipython.user_ns["session"].id).data == {"a": 1}

    async def in_jupyter():
        assert_one_line(run(cell), "with SessionManager(store).session() as session:")
        assert run("%%session\nsession['a'] = 2")[0].success

    asyncio.run(in_jupyter())
    assert store.count() == 14


def test_a_closed_store_is_one_line(run, store):
    """The engine's errors are one line, too."""
    store.close()
    assert_one_line(run("%sessions"), "closed")
    assert_one_line(run("%sessions_sweep"), "closed")


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
    """Each magic has help that begins with its usage and names its options."""
    kind = "cell" if name == "session" else "line"
    text = ipython.magics_manager.magics[kind][name].__doc__
    assert "store" in text
    assert f"%{name}" in text or f"%%{name}" in text


def complete(ipython, line):
    return ipython.complete(None, line)[1]


@pytest.mark.filterwarnings("ignore:.*:PendingDeprecationWarning")  # IPython's own calls of its older interface
def test_completion(ipython, store, tmp_path):
    """The tab key offers options, their choices, stores by name, and folders to open."""
    assert complete(ipython, "%sessions_sweep --str") == ["--strategy"]
    assert complete(ipython, "%sessions_sweep --strategy ") == ["index", "full-scan"]
    assert complete(ipython, "%sessions_verify st") == ["store"]
    assert complete(ipython, "%%sessions --wh") == ["--where"]
    assert f"{tmp_path}/storage/" in complete(ipython, f"%sessions_open {tmp_path}/st")
    assert "%sessions_sweep" in complete(ipython, "%sessions_s")


@pytest.mark.filterwarnings("ignore:.*:PendingDeprecationWarning")
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("~/my", "~/my' sessions/'"),
        ("--create ~/", "~/'my sessions/'"),
        ("~/my' sessions/'", "old/"),
        ("~/my' sessions/'o", "old/"),
        ("'~/my", "~/my sessions/"),
        ('"~/my se', "sessions/"),
        ("~/[", "'x]/'"),
        ("~/", "~/plain/"),
    ],
)
def test_completion_of_folders(ipython, run, tmp_path, monkeypatch, line, offered):
    """Folders are offered as the magic reads them: below `~`, with blanks between quotes, and no name a pattern."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("my sessions/old", "[x]", "plain"):
        (tmp_path / name).mkdir(parents=True)
    assert offered in complete(ipython, f"%sessions_open {line}")


@pytest.mark.filterwarnings("ignore:.*:PendingDeprecationWarning")
def test_completion_of_stores(ipython, run, store):
    """Stores are offered by the names that the user gave them, and not by those of IPython's outputs."""
    ipython.user_ns["_mine"] = store
    ipython.push({"_5": store, "_": store}, interactive=False)
    offered = complete(ipython, "%sessions_verify ")
    assert {"store", "_mine"} <= set(offered)
    assert not {"_", "_5"} & set(offered)


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("30s", 30), ("30", 30), ("1.5min", 90), ("2h", 7200), ("7d", 604800)]
)
def test_durations(text, seconds):
    """A duration is a number and a unit; without one, seconds are meant."""
    assert durations.parse(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["99999999999999d", "-99999999d", "+99999999d"])
def test_beyond_the_calendar(text, clock):
    """What the calendar cannot hold is refused."""
    with pytest.raises(ValueError, match="calendar"):
        moment(text, clock()) if text[0] in "+-" else durations.parse(text)


@pytest.mark.parametrize("text", ["", "s", "-5s", "5 weeks", "1e3s", "+"])
def test_no_durations(text):
    """Anything else is refused with an example."""
    with pytest.raises(ValueError, match="30s"):
        durations.parse(text)


def test_moments(clock):
    """A moment is a date, with or without a time and a zone, or a distance from now."""
    now = clock()
    assert moment("+2h", now) - now == timedelta(hours=2)
    assert now - moment("-7d", now) == timedelta(days=7)
    assert moment("2030-01-01T12:00", now) == moment("2030-01-01T13:00+01:00", now) == now.replace(microsecond=0)
    elsewhere = now.astimezone(timezone(timedelta(hours=9)))
    assert moment("2030-01-01T12:00", elsewhere) == moment("2030-01-01T12:00", now)
    with pytest.raises(ValueError, match="moment"):
        moment("soon", now)


def test_the_shell_outlives_its_stores(run, ipython, tmp_path):
    """A name that is bound to something else is bound anew, and a store on another folder stays open."""
    assert run(f"%sessions_open {tmp_path}/a --create")[0].success
    first = ipython.user_ns["store"]
    assert run(f"%sessions_open {tmp_path}/b --create")[0].success
    assert first.count() == 0
    first.close()
    with sled.open(tmp_path / "a"):
        pass
    assert isinstance(ipython.user_ns["store"], SledStore)
