"""`sled-sessions stats`, `list` and `show`."""

import attrs
import pytest
from operate.databases import fill

from sled_sessions import Id, SledStore, SweepStrategy


def test_stats(run, rows, storage):
    """Counts are printed as text, and the same ones as JSON."""
    text = run("stats", storage)
    assert (text.code, "live sessions" in text.out) == (0, True)
    assert "of it data" not in text.out  # the share is meaningless for the smallest possible file
    (found,) = rows("stats", storage)
    assert (found["sessions"], found["expired"]) == (30, 5)
    assert 0 < found["live_bytes"] < found["bytes_on_disk"]


def test_stats_advises_to_compact(run, storage):
    """Where `compact` would leave less than half of the files, stats say how much; elsewhere they don't name it."""
    assert "compact" not in run("stats", storage).out
    with SledStore.open(storage) as store:
        for n in range(40_000):
            store.tree.insert(b"short-lived", n.to_bytes(300, "big"))
        store.tree.remove(b"short-lived")
    assert "times the data: `sled-sessions compact` would leave about 1." in run("stats", storage).out


def test_list_filters_and_pages(run, rows, storage, ann):
    """Filters select, pages follow one another, and neither ids nor secrets are shown without --reveal."""
    everything = [row["id"] for row in rows("list", storage, "--limit", "100")]
    pages = [row["id"] for page in range(1, 5) for row in rows("list", storage, "--limit", 10, "--page", page)]
    assert pages == everything
    assert len(everything) == 35
    assert len(rows("list", storage, "--expired")) == 5
    assert len(rows("list", storage, "--live", "--limit", 99)) == 30
    assert len(rows("list", storage, "--expiring-within", "999999d", "--limit", 99)) == 30
    for condition in ("user.name=ann", 'user={"name": "ann"}'):
        (found,) = rows("list", storage, "--where", condition)
        assert found["id"] == f"{ann[:8]}…"
    for result in (run("list", storage, "--limit", 100), run("list", storage, "--limit", 100, "--json")):
        assert ann not in result.out
        assert "secret-value" not in result.out
    assert ann in run("list", storage, "--reveal", "--limit", 100).out
    assert "--page 2" in run("list", storage, "--limit", 10).err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--expiring-within", "7d"), "no such session\n"),
        (("--where", "n=3", "--where", "user.name=bob"), "no such session\n"),
        (("--page", 3), "no such session on page 3\n"),
        (("--unreadable",), "no unreadable record\n"),
    ],
)
def test_list_finds_nothing(run, storage, options, message):
    """A list that finds nothing exits with 3, so that a script can test whether there is such a session."""
    for output in ((), ("--json",)):
        result = run("list", storage, *options, *output)
        assert (result.code, result.out, result.err) == (3, "", message)


@pytest.mark.parametrize("strategy", SweepStrategy)
def test_list_by_expiry(rows, tmp_path, strategy):
    """With --expiring-within, sessions are listed in the order of their expiry, with and without an index."""
    fill(tmp_path / "storage", 10, expired=2, strategy=strategy)
    found = rows("list", tmp_path / "storage", "--expiring-within", "999999d")
    assert [row["data"]["n"] for row in found] == list(range(10))


@pytest.mark.parametrize("output", [(), ("--json",)])
def test_unreadable_records(run, storage, ann, output):
    """An unreadable record is in the list, is named by list and verify, and can be deleted."""
    with SledStore.open(storage) as store:
        broken, other = (record for record in store.records() if record.data["n"] in (6, 7))
        broken = broken.id
        store.tree.insert(broken.key, other.encode())  # unreadable, because it has the id of another session
        store.tree.insert(b"key", b"not a record")  # under a key that is not an id
    shown = run("list", storage, "--unreadable", *output)
    everything = run("list", storage, "--limit", 99, *output)
    for result in (shown, everything):
        assert (result.code, result.err) == (0, "")
        assert f"{str(broken)[:8]}…" in result.out
        assert "0x6b6579" in result.out
        assert str(broken) not in result.out
    assert len(everything.out.splitlines()) - len(shown.out.splitlines()) == 34
    assert str(broken) in run("list", storage, "--unreadable", "--reveal", *output).out
    verified = run("verify", storage)
    assert (verified.code, "34 sessions, 2 unreadable" in verified.out) == (3, True)
    assert all(name in verified.err for name in (f"{str(broken)[:8]}…", "0x6b6579", "--unreadable"))
    assert run("show", storage, str(broken)[:8]).code == 1
    assert run("delete", storage, f"{str(broken)[:8]}…", ann).code == 0
    assert run("show", storage, broken).code == run("show", storage, ann).code == 3


def test_filters_that_exclude_each_other(run, storage):
    """Filters that no session can pass together are wrong usage."""
    for options in (
        ("--live", "--expired"),
        ("--expired", "--expiring-within", "1h"),
        ("--unreadable", "--live"),
        ("--unreadable", "--where", "n=3"),
    ):
        result = run("list", storage, *options)
        assert (result.code, result.out) == (2, "")
        assert options[0] in result.err


def test_show(run, rows, storage, ann):
    """A session is shown by its id or a prefix of it, with secrets masked unless --reveal."""
    for id in (ann, ann[:9], f"{ann[:9]}…"):
        shown = run("show", storage, id)
        assert (shown.code, "ann" in shown.out, "secret-value" in shown.out) == (0, True, False)
    (found,) = rows("show", storage, ann, "--reveal")
    assert (found["id"], found["data"]["csrf_token"], found["live"]) == (ann, "secret-value", True)
    missing = run("show", storage, "A" * 22)
    assert (missing.code, missing.out) == (3, "")


@pytest.mark.parametrize("id", ["x", "", "…", "????", "A" * 21 + "B", "A" * 23])
@pytest.mark.parametrize("command", ["show", "delete"])
def test_invalid_ids(run, storage, ann, command, id):
    """An argument that cannot be an id or a prefix of one is wrong usage, and nothing is deleted."""
    result = run(command, storage, *([ann] if command == "delete" else []), id)
    assert (result.code, result.out) == (2, "")
    assert "id" in result.err
    assert run("show", storage, ann).code == 0


@pytest.mark.parametrize("id", ["-h3_" + "x" * 17 + "A", "--json" + "x" * 15 + "A"])
def test_ids_that_look_like_options(run, storage, ann, id):
    """An id that begins with a dash is found in full and by a prefix, before and after options."""
    with SledStore.open(storage) as store:
        store.save(attrs.evolve(store.load(Id.parse(ann)), id=Id.parse(id)))
    for arguments in ((id,), (f"{id[:8]}…",), ("--json", id), (id, "--json"), ("--", id)):
        shown = run("show", storage, *arguments)
        assert (shown.code, "ann" in shown.out) == (0, True), shown.err
    assert run("delete", storage, id).code == 0
    assert run("show", storage, id).code == 3
    assert "No such option" in run("show", storage, id, "--jsn").err
