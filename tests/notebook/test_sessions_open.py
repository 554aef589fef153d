"""%sessions_open."""

from datetime import timedelta

import pytest
from sessions import new_record, save_numbered

from sled_sessions import SledStore, SweepStrategy, sled


def test_opens_under_a_name(run, ipython, tmp_path):
    """--create creates the database and the tree, and --as names the variable that gets the store."""
    result, _ = run(f"%sessions_open {tmp_path}/new --create --as shop --tree carts --resolution 5min")
    assert result.success
    shop = ipython.user_ns["shop"]
    assert result.result is shop
    assert shop.tree.name == b"carts"
    assert shop.resolution == timedelta(minutes=5)


def test_path_with_a_space(run, ipython, tmp_path):
    """A path with a space can be quoted."""
    assert run(f"%sessions_open '{tmp_path}/my sessions' --create")[0].success
    assert ipython.user_ns["store"].tree.db.path.name == "my sessions"


def test_running_the_cell_again(run, ipython, tmp_path):
    """Running the same cell again works: the store it opened before is closed first."""
    for options in ("--create", "--full-scan", ""):
        assert run(f"%sessions_open {tmp_path}/new {options}")[0].success
    assert ipython.user_ns["store"].strategy is SweepStrategy.EXPIRY_INDEX


def test_store_without_a_name_is_closed(run, ipython, tmp_path):
    """A store this magic opened and that no variable holds is closed to reopen the folder, even if in an output."""
    for folder in "abab":
        result, printed = run(f"%sessions_open {tmp_path}/{folder} --create")
        assert result.success, printed
        assert result.result.tree.db.path.name == folder
        assert result.result.count() == 0
    assert run(f"store = None\n%sessions_open {tmp_path}/a --as other")[0].success
    assert run("%reload_ext sled_sessions")[0].success
    assert run(f"%sessions_open {tmp_path}/a --as other")[0].success


def test_variable_can_be_reused(run, ipython, tmp_path):
    """Opening another folder under the same name leaves the first store open."""
    assert run(f"%sessions_open {tmp_path}/a --create")[0].success
    first = ipython.user_ns["store"]
    assert run(f"%sessions_open {tmp_path}/b --create")[0].success
    assert first.count() == 0
    first.close()
    with sled.open(tmp_path / "a"):
        pass
    assert isinstance(ipython.user_ns["store"], SledStore)


def test_variable_of_a_start_up_file(run, run_failing, ipython, tmp_path):
    """A variable that IPython lists as hidden, as it does those of start-up files, also counts as a user of a store."""
    assert run(f"%sessions_open {tmp_path}/storage --create --as first")[0].success
    ipython.user_ns_hidden["first"] = ipython.user_ns["first"]
    run_failing(f"%sessions_open {tmp_path}/storage --as second", "open as first;", "first.close()")


def test_refuses_a_server_url(run_failing, tmp_path, monkeypatch):
    """A server's URL is not taken for a folder, with or without --create, and the error hides its password."""
    monkeypatch.chdir(tmp_path)
    for create in ("", " --create"):
        printed = run_failing(f"%sessions_open redis://:secret@localhost{create}", "a server's URL")
        assert "secret" not in printed
    assert not any(tmp_path.iterdir())


def test_refuses_a_second_name(run, run_failing, ipython, tmp_path):
    """A folder whose store is in another variable is not reopened; the error names that variable and the cure."""
    assert run(f"%sessions_open {tmp_path}/storage --create --as first")[0].success
    run_failing(f"%sessions_open {tmp_path}/storage --as second", "open as first;", "first.close()")
    first = ipython.user_ns["first"]
    assert first.count() == 0
    assert run("first.close()")[0].success
    assert run(f"%sessions_open {tmp_path}/storage --as second")[0].success
    second = ipython.user_ns["second"]
    carts = ipython.user_ns["carts"] = SledStore(second.tree.db.open_tree("carts"))
    assert run("second = None")[0].success
    run_failing(f"%sessions_open {tmp_path}/storage --as third", "open as carts;", "carts.tree.db.close()")
    assert carts.count() == 0
    assert run("carts.tree.db.close()")[0].success
    assert run(f"%sessions_open {tmp_path}/storage --as third")[0].success


def test_leaves_stores_opened_by_code(run_failing, store):
    """A store of the same name that code opened stays open, and the error says how to close it."""
    for options in ("", "--tree sesion"):
        run_failing(f"%sessions_open {store.tree.db.path} {options}", "open as store;", "store.tree.db.close()")
        assert store.count() == 12


def test_store_that_lost_its_name(run, run_failing, ipython, tmp_path):
    """For a store that only an output holds, the error says how to find it, and then it can be closed."""
    folder = tmp_path / "storage"
    assert run(f"from sled_sessions import SledStore, sled\nstore = SledStore.open({str(folder)!r})\nstore")[0].success
    held = ipython.user_ns["store"]  # as an output would
    assert run("del store")[0].success
    run_failing(f"%sessions_open {folder}", "open in this process already", "sled.open_databases()")
    assert run("for db in sled.open_databases():\n    if db.path.name == 'storage':\n        db.close()")[0].success
    assert run(f"%sessions_open {folder}")[0].success
    del held


def test_builds_the_index(run, ipython, rust_storage):
    """Opening a database that Rust wrote builds a complete index."""
    assert run(f"%sessions_open {rust_storage}")[0].success
    assert ipython.user_ns["store"].verify_index().entries == 60


@pytest.mark.parametrize("option", ["", "--create"])
def test_keeps_the_resolution(run, tmp_path, option):
    """Without --resolution the index stays the same, entry by entry; with it, the index is rebuilt."""
    with SledStore.open(tmp_path / "storage", resolution=timedelta(minutes=5)) as store:
        save_numbered(store, 12)
        entries = list(store.tree.db.open_tree("session:expiry").keys())
    for resolution in ("", "", "--resolution 5min"):  # first with no store open, then with one
        store = run(f"%sessions_open {tmp_path}/storage {option} {resolution}")[0].result
        assert store.resolution == timedelta(minutes=5)
        assert list(store.tree.db.open_tree("session:expiry").keys()) == entries
    store = run(f"%sessions_open {tmp_path}/storage {option} --resolution 1s")[0].result
    assert list(store.tree.db.open_tree("session:expiry").keys()) != entries
    assert store.verify_index().entries == 12


def test_mistakes(run_failing, tmp_path, store):
    """A wrong path, locked database, bad name, option or duration: a one-line error each, and nothing is created."""
    nowhere = tmp_path / "nowhere"
    run_failing(f"%sessions_open {nowhere}", str(nowhere), "--create")
    assert not nowhere.exists()
    run_failing(f"%sessions_open {store.tree.db.path} --as other", "open")
    run_failing(f"%sessions_open {nowhere} --create --as 1st", "1st")
    run_failing(f"%sessions_open {nowhere} --create --as class", "class")
    run_failing("%sessions_open ~nobody_of_this_name/storage", "nobody_of_this_name")
    run_failing("%sessions_open --create ''", "empty")
    run_failing(f"%sessions_open {nowhere} --bogus", "--bogus", "%sessions_open?")
    run_failing(f"%sessions_open {nowhere} --create --resolution soon", "soon", "30s")
    run_failing(f"%sessions_open {nowhere} --create --resolution 0s", "resolution")
    run_failing("%sessions_open", "path")
    run_failing("%sessions_open 'half", "quotation")
    assert not nowhere.exists()


def test_creates_no_tree_by_mistake(run, run_failing, ipython, tmp_path, store):
    """Without --create a missing tree is an error that lists the trees; the tree of an index is always refused."""
    folder, names = store.tree.db.path, store.tree.db.tree_names()
    store.close()
    assert run(f"%sessions_open {folder}")[0].success
    for _ in ("with the store open", "with the store closed"):
        run_failing(f"%sessions_open {folder} --tree sesion", "no tree 'sesion'", "session")
        run_failing(f"%sessions_open {folder} --tree session:expiry", "index of 'session'")
        ipython.user_ns["store"].close()
    with sled.open(folder) as db:
        assert db.tree_names() == names
    run_failing(f"%sessions_open {tmp_path}/new --create --tree cart:expiry", "'cart:expiry'")
    assert not (tmp_path / "new").exists()


def test_mistakes_leave_the_store_open(run, ipython, store):
    """Wrong arguments do not close the store that is open under the name."""
    store.close()
    store = run(f"%sessions_open {store.tree.db.path}")[0].result
    for mistake in ("--resolution 1w", "--resolution 0s", "--resolution 999999999d", "--tree sesion"):
        assert not run(f"%sessions_open {store.tree.db.path} {mistake}")[0].success
        assert store.count() == 12


def test_folder_with_a_missing_file(run, run_failing, tmp_path):
    """A default database without its `conf` file opens; without its `db` file the error says that it is missing."""
    with SledStore.open(tmp_path / "storage") as store:
        store.save(new_record())
    (tmp_path / "storage" / "conf").unlink()
    result, printed = run(f"%sessions_open {tmp_path}/storage")
    assert result.success, printed
    assert result.result.count() == 1
    result.result.close()
    (tmp_path / "storage" / "db").unlink()
    assert "--create" not in run_failing(f"%sessions_open {tmp_path}/storage", "db is missing")


def test_variables_with_unopened_stores(run, run_failing, ipython, tmp_path):
    """A store of `SledStore.at` in another variable is not opened; in use, it is named like any other."""
    waiting = ipython.user_ns["waiting"] = SledStore.at(tmp_path / "storage")
    assert run(f"%sessions_open {tmp_path}/storage --create")[0].success
    assert waiting.is_new
    ipython.user_ns["store"].close()
    with waiting:
        run_failing(f"%sessions_open {tmp_path}/storage", "storage is open as waiting")


def test_magics_open_a_store(run, run_failing, ipython, tmp_path):
    """Magics open a store of `SledStore.at` that is new, and say how to open one that is closed."""
    store = ipython.user_ns["store"] = SledStore.at(tmp_path / "storage")
    assert run("%sessions_verify")[0].result.records == 0
    assert store.is_open
    store.close()
    run_failing("%sessions_verify", "entering it, `with store:`, opens it again")
    assert run("%sessions_sweep")[0].result.deleted == 0
