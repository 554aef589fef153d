"""`sled-sessions delete`, `sweep`, `verify` and `reindex`."""

import json

import pytest
from operate.databases import contents

from sled_sessions import SledStore, sled
from sled_sessions.stores.sled.index import ExpiryIndex


def test_delete(run, storage, ann):
    """Delete reports what was not found, by its exit code as well."""
    assert run("delete", storage, ann).code == 0
    again = run("delete", storage, ann, "--json")
    assert (again.code, json.loads(again.out)) == (3, {"deleted": 0, "missing": 1})


def test_delete_same_id_twice(run, storage, ann):
    """An id given twice, in full or shortened, is deleted once, and does not count as missing."""
    result = run("delete", storage, ann, ann, ann[:10])
    assert (result.code, result.out) == (0, "1 deleted\n")


def test_delete_where(run, rows, storage, ann):
    """Conditions select for `delete` the sessions that they select for `list`; all of them must hold."""
    condition = ("--where", "user.name=ann")
    assert run("delete", storage, *condition, "--where", "n=99").code == 3
    assert [row["id"] for row in rows("list", storage, *condition)] == [f"{ann[:8]}…"]
    (deleted,) = rows("delete", storage, *condition)
    assert deleted == {"deleted": 1, "missing": 0}
    again = run("delete", storage, *condition)
    assert (again.code, again.out, again.err) == (3, "0 deleted\n", "no such session\n")
    assert len(rows("list", storage, "--limit", 99)) == 34
    assert run("delete", storage, "--where", "n=3").out == "2 deleted\n"  # one of them has expired


@pytest.mark.parametrize("arguments", [(), ("--where", "n"), ("--where", "n=1", "ANN"), ("--where",)])
def test_delete_needs_ids_or_conditions(run, storage, ann, arguments):
    """Without ids and conditions, with both, or with half a condition, `delete` is wrong usage and deletes nothing."""
    result = run("delete", storage, *(ann if each == "ANN" else each for each in arguments))
    assert (result.code, result.out) == (2, "")
    assert run("delete", storage, "--where", "n=1000").code == 3
    assert run("show", storage, ann).code == 0


def test_sweep(run, rows, storage):
    """A dry run counts, --limit limits, and a sweep without options deletes all expired sessions."""
    (dry,) = rows("sweep", storage, "--dry-run")
    (some,) = rows("sweep", storage, "--limit", 2)
    (rest,) = rows("sweep", storage, "--strategy", "full-scan")
    assert [each["deleted"] for each in (dry, some, rest)] == [5, 2, 3]
    assert run("sweep", storage, "--strategy", "index", "--dry-run").code == 0


@pytest.mark.parametrize("strategy", ["index", "full-scan"])
def test_dry_run_has_the_limits_of_a_sweep(rows, storage, strategy):
    """--limit and --budget end a dry run where they would end the sweep; the report says that there are more."""
    limit = ("--limit", 2, "--strategy", strategy)
    (dry,), (real,) = (rows("sweep", storage, *limit, *option) for option in (["--dry-run"], []))
    for each in (dry, real):
        assert (each["deleted"], each["examined"], each["complete"]) == (2, real["examined"], False)
    budget = ("--budget", 0, "--strategy", strategy)
    (dry,), (real,) = (rows("sweep", storage, *budget, *option) for option in (["--dry-run"], []))
    assert (dry["complete"], dry["deleted"], real["deleted"]) == (False, 1, 1)


def test_sweep_within_a_budget(run, storage):
    """A sweep with enough time deletes all expired sessions."""
    assert "5 deleted" in run("sweep", storage, "--budget", "10s").out
    assert "0 deleted" in run("sweep", storage, "--budget", "10s").out


def test_verify_and_reindex(run, storage):
    """A wrong index makes verify exit with 3, and reindex repairs it."""
    assert run("verify", storage).code == 0
    with sled.open(storage) as db:
        entries = db.open_tree("session:expiry")
        entries.remove(entries.first()[0])
    found = run("verify", storage, "--json")
    assert (found.code, json.loads(found.out)["index"]["missing"]) == (3, 1)
    assert "reindex" in run("verify", storage).err
    assert "1 missing from the index, 0 entries without a session" in run("verify", storage).out
    assert run("reindex", storage, "--json").code == 0
    assert run("verify", storage).code == 0


def test_entries_left_over_are_counted(run, storage):
    """Entries whose record is gone, or has another expiry, are shown and leave verify's exit code at 0."""
    with SledStore.open(storage) as store:
        gone, moved, *_ = list(store.records())
        store.tree.remove(gone.id.key)
        entries = store.tree.db.open_tree("session:expiry")
        entries.insert(b"\xff" * 8 + moved.id.key, b"")
    found = run("verify", storage)
    assert (found.code, found.err) == (0, "")
    assert "0 missing from the index, 2 entries without a session" in found.out
    report = json.loads(run("verify", storage, "--json").out)
    assert (report["ok"], report["index"]["missing"], report["index"]["stale"]) == (True, 0, 2)


def test_reindex_database_of_the_rust_crate(run, rust_storage):
    """Verify does not change a database without an index, such as the Rust crate's; reindex builds one."""
    before = contents(rust_storage)
    assert run("verify", rust_storage).code == 0
    assert contents(rust_storage) == before
    assert run("reindex", rust_storage).code == 0
    with sled.open(rust_storage) as db:
        assert b"session:expiry" in db.tree_names()


def test_interrupted_reindex(run, storage, monkeypatch):
    """After Ctrl-C during a reindex there is no index: reindex, verify and an index sweep say so and name the cure."""

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(SledStore, "flush", interrupt)
        assert "no expiry index" not in run("reindex", storage).err
    for _ in range(2):
        with monkeypatch.context() as patched:
            patched.setattr(ExpiryIndex, "mark_complete", interrupt)
            result = run("reindex", storage)
        assert (result.code, result.out) == (130, "")
        assert "interrupted: the database has no expiry index now; run sled-sessions reindex again" in result.err
    verified = run("verify", storage)
    assert (verified.code, "no expiry index" in verified.out, "missing" in verified.out) == (0, True, False)
    assert "reindex" in verified.err
    assert json.loads(run("verify", storage, "--json").out)["resolution"] is None
    for options in ((), ("--dry-run",)):
        swept = run("sweep", storage, "--strategy", "index", *options)
        assert (swept.code, swept.out) == (1, "")
        assert "sled-sessions reindex" in swept.err
    assert "by full-scan" in run("sweep", storage).out
    assert run("reindex", storage).code == 0
    assert "0 missing" in run("verify", storage).out


@pytest.mark.parametrize("tree", ["session:expiry", "session:meta"])
def test_reindex_refuses_the_trees_of_an_index(run, storage, tree):
    """The trees of an index hold no sessions and get no index themselves."""
    before = contents(storage)
    result = run("reindex", storage, "--tree", tree)
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert "'session'" in result.err
    assert contents(storage) == before


def test_reindex_creates_no_database_and_no_tree(run, tmp_path, storage):
    """A mistyped folder or tree is an error; neither is created."""
    assert run("reindex", tmp_path / "nowhere").code == 1
    assert run("reindex", storage, "--tree", "sessions").code == 1
    assert not (tmp_path / "nowhere").exists()
