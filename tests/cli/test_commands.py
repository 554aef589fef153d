"""Each command: what it prints, what it returns to the shell, and what it leaves alone."""

import json
import signal
import subprocess

import attrs
import pytest
from command import COMMAND
from operate.databases import contents, fill, lines, start

from sled_sessions import Id, SledStore, sled
from sled_sessions.cli import _COMMANDS
from sled_sessions.operate import Format, migrate


@pytest.fixture
def storage(tmp_path):
    fill(tmp_path / "storage", 30, expired=5)
    with SledStore.open(tmp_path / "storage") as store:
        record = next(iter(store.records()))
        record.data |= {"user": {"name": "ann"}, "csrf_token": "secret-value"}
        store.save(record)
    return tmp_path / "storage"


@pytest.fixture
def ann(storage):
    """The id of the session that has a user."""
    with SledStore.open(storage) as store:
        return next(str(record.id) for record in store.records() if "user" in record.data)


def rows(result):
    assert result.code == 0, result.err
    return [json.loads(line) for line in result.out.splitlines()]


@pytest.mark.parametrize("name", _COMMANDS)
def test_every_command_has_help(run, name):
    """--help works for each command and says what it does."""
    result = run(name, "--help")
    assert result.code == 0
    assert len(result.out) > 100


def test_help_lists_all_commands(run):
    """The overview names every command and the exit codes."""
    result = run("--help")
    assert all(f"  {name} " in result.out for name in _COMMANDS)
    assert "Exit codes" in result.out


def test_stats(run, storage):
    """Counts for people, and the same as JSON."""
    text = run("stats", storage)
    assert (text.code, "live sessions" in text.out) == (0, True)
    (found,) = rows(run("stats", storage, "--json"))
    assert (found["sessions"], found["expired"]) == (30, 5)
    assert 0 < found["live_bytes"] < found["bytes_on_disk"]


def test_list_filters_and_pages(run, storage, ann):
    """Filters select, pages follow one another, and neither ids nor secrets are shown without --reveal."""
    everything = [row["id"] for row in rows(run("list", storage, "--json", "--limit", "100"))]
    pages = [
        row["id"] for page in range(1, 6) for row in rows(run("list", storage, "--json", "--limit", 10, "--page", page))
    ]
    assert pages == everything
    assert len(everything) == 35
    assert len(rows(run("list", storage, "--expired", "--json"))) == 5
    assert len(rows(run("list", storage, "--live", "--json", "--limit", 99))) == 30
    assert rows(run("list", storage, "--expiring-within", "7d", "--json")) == []
    assert len(rows(run("list", storage, "--expiring-within", "999999d", "--json", "--limit", 99))) == 30
    for condition in ("user.name=ann", 'user={"name": "ann"}'):
        (found,) = rows(run("list", storage, "--where", condition, "--json"))
        assert found["id"] == f"{ann[:8]}…"
    assert rows(run("list", storage, "--where", "n=3", "--where", "user.name=bob", "--json")) == []
    for result in (run("list", storage, "--limit", 100), run("list", storage, "--limit", 100, "--json")):
        assert ann not in result.out
        assert "secret-value" not in result.out
    assert ann in run("list", storage, "--reveal", "--limit", 100).out
    assert "--page 2" in run("list", storage, "--limit", 10).err


def test_show(run, storage, ann):
    """One session by its id or the beginning of it: masked, or not."""
    for id in (ann, ann[:9], f"{ann[:9]}…"):
        shown = run("show", storage, id)
        assert (shown.code, "ann" in shown.out, "secret-value" in shown.out) == (0, True, False)
    (found,) = rows(run("show", storage, ann, "--reveal", "--json"))
    assert (found["id"], found["data"]["csrf_token"], found["live"]) == (ann, "secret-value", True)
    missing = run("show", storage, "A" * 22)
    assert (missing.code, missing.out) == (3, "")


def test_delete(run, storage, ann):
    """Deleting tells what was not there, by the exit code as well."""
    assert run("delete", storage, ann).code == 0
    again = run("delete", storage, ann, "--json")
    assert (again.code, json.loads(again.out)) == (3, {"deleted": 0, "missing": 1})


@pytest.mark.parametrize("id", ["-h3_" + "x" * 17 + "A", "--json" + "x" * 15 + "A"])
def test_ids_that_look_like_options(run, storage, id):
    """An id may begin with a dash, and is found whole and by its beginning, wherever it stands among the options."""
    with SledStore.open(storage) as store:
        (record, *_) = store.records()
        store.save(attrs.evolve(record, id=Id.parse(id)))
    for arguments in ((id,), (f"{id[:8]}…",), ("--json", id), (id, "--json"), ("--", id)):
        shown = run("show", storage, *arguments)
        assert (shown.code, "ann" in shown.out) == (0, True), shown.err
    assert run("delete", storage, id).code == 0
    assert run("show", storage, id).code == 3
    assert "No such option" in run("show", storage, id, "--jsn").err


def test_sweep(run, storage):
    """A dry run counts, a limit limits, a sweep sweeps."""
    (dry,) = rows(run("sweep", storage, "--dry-run", "--json"))
    (some,) = rows(run("sweep", storage, "--limit", 2, "--json"))
    (rest,) = rows(run("sweep", storage, "--strategy", "full-scan", "--json"))
    assert [each["deleted"] for each in (dry, some, rest)] == [5, 2, 3]
    assert "0 deleted" in run("sweep", storage, "--budget", "10s").out


def test_verify_and_reindex(run, storage):
    """A wrong index makes verify return 3, and reindex puts it right."""
    assert run("verify", storage).code == 0
    with sled.open(storage) as db:
        entries = db.open_tree("session:expiry")
        entries.remove(entries.first()[0])
    found = run("verify", storage, "--json")
    assert (found.code, json.loads(found.out)["index"]["missing"]) == (3, 1)
    assert "reindex" in run("verify", storage).err
    assert run("reindex", storage, "--json").code == 0
    assert run("verify", storage).code == 0


def test_reindex_gives_a_rust_database_an_index(run, rust_storage):
    """Verifying leaves a database of the Rust crate without an index; reindex builds one."""
    before = contents(rust_storage)
    assert run("verify", rust_storage).code == 0
    assert contents(rust_storage) == before
    assert run("reindex", rust_storage).code == 0
    with sled.open(rust_storage) as db:
        assert b"session:expiry" in db.tree_names()


def test_reindex_makes_no_database_and_no_tree(run, tmp_path, storage):
    """A mistyped folder or tree is an error, and not a new one."""
    assert run("reindex", tmp_path / "nowhere").code == 1
    assert run("reindex", storage, "--tree", "sessions").code == 1
    assert not (tmp_path / "nowhere").exists()


def test_export_and_import(run, tmp_path, storage):
    """A file and a pipe hold the same lines, and an import of them the same sessions."""
    assert rows(run("export", storage, tmp_path / "out.jsonl", "--json")) == [{"sessions": 35}]
    assert run("export", storage, "-").out == (tmp_path / "out.jsonl").read_text("utf-8")
    assert len(lines(tmp_path / "out.jsonl")) == 35
    assert run("export", storage, tmp_path / "out.jsonl").code == 1
    assert run("import", tmp_path / "new", tmp_path / "out.jsonl").code == 0
    assert contents(tmp_path / "new") == contents(storage)
    (again,) = rows(run("import", tmp_path / "new", tmp_path / "out.jsonl", "--json"))
    assert (again["written"], again["kept"]) == (0, 35)


def test_backup_restore_compact_and_migrate(run, tmp_path, storage):
    """Each makes a folder with the same contents, tells its checksum, and writes nothing over."""
    expected = contents(storage)
    made = [
        run("backup", storage, tmp_path / "file", "--json"),
        run("restore", tmp_path / "file", tmp_path / "restored", "--json"),
        run("compact", storage, tmp_path / "compacted"),
        run("migrate", storage, tmp_path / "new", "--to", "1.0", "--json"),
        run("migrate", tmp_path / "new", tmp_path / "back", "--to", "0.34"),
    ]
    for result in made:
        assert (result.code, expected.checksum in result.out) == (0, True), result.err
    for folder in ("restored", "compacted", "back"):
        assert contents(tmp_path / folder) == expected
        assert run("restore", tmp_path / "file", tmp_path / folder).code == 1


def test_salvage(run, tmp_path, storage):
    """A whole database is salvaged without loss; one with a hole returns 3 and says so."""
    assert run("salvage", storage, tmp_path / "whole").code == 0
    data = bytearray((storage / "db").read_bytes())
    data[data.rindex(b"secret-value")] ^= 1  # in what was written last
    (storage / "db").write_bytes(data)
    found = run("salvage", storage, tmp_path / "rest")
    assert found.code == 3
    assert "1 places could not be read" in found.out
    assert run("verify", tmp_path / "rest").code == 0


def test_errors_are_one_line_and_have_their_codes(run, tmp_path, storage):
    """Nothing there, the wrong format, a tree that is missing, wrong usage: one line on stderr, no traceback."""
    migrate(storage, tmp_path / "new", Format.V1_0)
    cases = [
        (("stats", tmp_path / "nowhere"), 1, "no sled database"),
        (("list", storage, "--tree", "nothing"), 1, "no tree 'nothing'"),
        (("verify", tmp_path / "new"), 1, "sled-sessions migrate"),
        (("export", storage, tmp_path / "no" / "folder"), 1, "No such file"),
        (("show", storage, "AB"), 1, "at least"),
    ]
    for arguments, code, text in cases:
        result = run(*arguments)
        assert (result.code, result.out) == (code, ""), arguments
        assert text in result.err
        assert result.err.count("\n") == 1
    for arguments in (
        ("stats",),
        ("nonsense",),
        ("list", storage, "--limit", "0"),
        ("sweep", storage, "--budget", "x"),
    ):
        assert run(*arguments).code == 2
    assert not (tmp_path / "nowhere").exists()


def test_a_database_that_is_open_elsewhere(run, storage):
    """While another process has it open there is one line that says so, and code 4."""
    holder = start(f"from sled_sessions import sled; db = sled.open({str(storage)!r}); print('open'); input()")
    try:
        assert holder.stdout.readline() == "open\n"
        for command in ("stats", "verify", "sweep"):
            result = run(command, storage)
            assert result.code == 4
            assert result.err.count("\n") == 1
            assert "another process has the database" in result.err
    finally:
        holder.communicate("\n")


def test_a_damaged_database(run, storage):
    """A missing file is named, with what to do, and the code is 5."""
    (storage / "db").unlink()
    result = run("stats", storage)
    assert result.code == 5
    assert "db is missing" in result.err
    assert "sled-sessions restore" in result.err
    assert result.err.count("\n") == 1


def test_a_closed_pipe_and_an_interrupt(tmp_path):
    """`| head` ends an export without a word, and Ctrl-C ends anything with code 130."""
    fill(tmp_path / "storage", 3_000)
    with subprocess.Popen(
        [*COMMAND, "export", tmp_path / "storage", "-"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as export:
        export.stdout.readline()
        export.stdout.close()
        assert export.wait(60) == 1
        assert export.stderr.read() == b""
    with subprocess.Popen(
        [*COMMAND, "import", tmp_path / "storage", "-"], stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as waiting:
        waiting.stdin.write(b"\n" * 100_000)
        waiting.send_signal(signal.SIGINT)
        assert waiting.wait(60) == 130
        assert waiting.stderr.read().strip() == b"sled-sessions: interrupted"
