"""Each command: what it prints, what it returns to the shell, and what it leaves alone."""

import json
import os
import shutil
import signal
import subprocess
import sys

import attrs
import pytest
from command import COMMAND
from faults.test_disk import mounted
from operate.databases import contents, fill, lines, start

from sled_sessions import Id, SledStore, SweepStrategy, sled
from sled_sessions.cli import _COMMANDS
from sled_sessions.operate import Format, migrate
from sled_sessions.sled.salvage import Pages
from sled_sessions.stores.sled.index import ExpiryIndex


@pytest.fixture
def storage(tmp_path):
    (record, *_) = fill(tmp_path / "storage", 30, expired=5)
    with SledStore.open(tmp_path / "storage") as store:
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


@pytest.mark.parametrize("closed", ["0", "1", "2"])
def test_a_standard_file_that_is_closed(storage, tmp_path, closed):
    """What the shell has closed is as /dev/null: no traceback, and no database file is written to in its place."""
    before = contents(storage)
    for arguments in (("stats", storage), ("copy", storage, "-"), ("stats", tmp_path / "nowhere")):
        command = subprocess.run(
            ["/bin/sh", "-c", f'"$@" {closed}>&-', "sh", *COMMAND, *map(str, arguments)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert command.returncode == (1 if tmp_path / "nowhere" in arguments else 0)
        assert "Traceback" not in command.stderr
    assert contents(storage) == before


@pytest.mark.parametrize(
    "locale",
    [
        {"PYTHONIOENCODING": "latin-1"},
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
)
def test_a_terminal_that_has_not_all_characters(storage, ann, locale):
    """What the terminal's encoding lacks is shown as an escape, and ends no command."""
    with SledStore.open(storage) as store:
        store.update(Id.parse(ann), lambda record: attrs.evolve(record, data={"name": "Ωµ…"}))
    for arguments in (("list", storage), ("show", storage, ann), ("stats", storage), ("--help",), ("list", "--help")):
        command = subprocess.run([*COMMAND, *arguments], capture_output=True, check=False, env=os.environ | locale)
        assert (command.returncode, command.stderr) in ((0, b""), (0, b"There are more: --page 2\n"))
        assert command.stdout
    shown = subprocess.run([*COMMAND, "show", storage, ann], capture_output=True, env=os.environ | locale).stdout
    assert rb"\u03a9" in shown


def test_it_runs_as_a_module(storage):
    """`python -m sled_sessions` is the command."""
    command = subprocess.run(
        [sys.executable, "-m", "sled_sessions", "stats", storage], capture_output=True, text=True, check=True
    )
    assert "live sessions" in command.stdout


def test_stats(run, storage):
    """Counts for people, and the same as JSON."""
    text = run("stats", storage)
    assert (text.code, "live sessions" in text.out) == (0, True)
    assert "of it data" not in text.out  # as much as a file has at least says nothing
    (found,) = rows(run("stats", storage, "--json"))
    assert (found["sessions"], found["expired"]) == (30, 5)
    assert 0 < found["live_bytes"] < found["bytes_on_disk"]


def test_list_filters_and_pages(run, storage, ann):
    """Filters select, pages follow one another, and neither ids nor secrets are shown without --reveal."""
    everything = [row["id"] for row in rows(run("list", storage, "--json", "--limit", "100"))]
    pages = [
        row["id"] for page in range(1, 5) for row in rows(run("list", storage, "--json", "--limit", 10, "--page", page))
    ]
    assert pages == everything
    assert len(everything) == 35
    assert len(rows(run("list", storage, "--expired", "--json"))) == 5
    assert len(rows(run("list", storage, "--live", "--json", "--limit", 99))) == 30
    assert len(rows(run("list", storage, "--expiring-within", "999999d", "--json", "--limit", 99))) == 30
    for condition in ("user.name=ann", 'user={"name": "ann"}'):
        (found,) = rows(run("list", storage, "--where", condition, "--json"))
        assert found["id"] == f"{ann[:8]}…"
    for result in (run("list", storage, "--limit", 100), run("list", storage, "--limit", 100, "--json")):
        assert ann not in result.out
        assert "secret-value" not in result.out
    assert ann in run("list", storage, "--reveal", "--limit", 100).out
    assert "--page 2" in run("list", storage, "--limit", 10).err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--expiring-within", "7d"), "no such session\n"),
        (("--where", "n=3", "--where", "user.name=bob"), "no such session\n"),
        (("--page", 3), "no such session on page 3\n"),
        (("--unreadable",), "no record that cannot be read\n"),
    ],
)
def test_a_list_of_nothing(run, storage, options, words):
    """A list that finds nothing is told by the exit code, so that a script can ask whether there is such a session."""
    for output in ((), ("--json",)):
        result = run("list", storage, *options, *output)
        assert (result.code, result.out, result.err) == (3, "", words)


@pytest.mark.parametrize("strategy", SweepStrategy)
def test_a_list_of_what_expires_next(run, tmp_path, strategy):
    """With --expiring-within the next to expire comes first, with an index and without one."""
    fill(tmp_path / "storage", 10, expired=2, strategy=strategy)
    found = rows(run("list", tmp_path / "storage", "--expiring-within", "999999d", "--json"))
    assert [row["data"]["n"] for row in found] == list(range(10))


@pytest.mark.parametrize("output", [(), ("--json",)])
def test_a_record_that_cannot_be_read_is_found_and_deleted(run, storage, ann, output):
    """An unreadable record has its place in the list, is named there and by verify, and delete ends it."""
    with SledStore.open(storage) as store:
        broken, other = (record for record in store.records() if record.data["n"] in (6, 7))
        broken = broken.id
        store.tree.insert(broken.key, other.encode())  # as good as none, for it is another session's
        store.tree.insert(b"key", b"no record")  # no session can have it
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


def test_show(run, storage, ann):
    """One session by its id or the beginning of it: masked, or not."""
    for id in (ann, ann[:9], f"{ann[:9]}…"):
        shown = run("show", storage, id)
        assert (shown.code, "ann" in shown.out, "secret-value" in shown.out) == (0, True, False)
    (found,) = rows(run("show", storage, ann, "--reveal", "--json"))
    assert (found["id"], found["data"]["csrf_token"], found["live"]) == (ann, "secret-value", True)
    missing = run("show", storage, "A" * 22)
    assert (missing.code, missing.out) == (3, "")


@pytest.mark.parametrize("id", ["x", "", "…", "????", "A" * 21 + "B", "A" * 23])
@pytest.mark.parametrize("command", ["show", "delete"])
def test_what_is_no_id(run, storage, ann, command, id):
    """What cannot be an id or the beginning of one is wrong usage, and nothing is deleted."""
    result = run(command, storage, *([ann] if command == "delete" else []), id)
    assert (result.code, result.out) == (2, "")
    assert "id" in result.err
    assert run("show", storage, ann).code == 0


def test_delete(run, storage, ann):
    """Deleting tells what was not there, by the exit code as well."""
    assert run("delete", storage, ann).code == 0
    again = run("delete", storage, ann, "--json")
    assert (again.code, json.loads(again.out)) == (3, {"deleted": 0, "missing": 1})


def test_delete_one_twice(run, storage, ann):
    """An id that is given twice, or cut and whole, is of one session: it is deleted, and none is missing."""
    result = run("delete", storage, ann, ann, ann[:10])
    assert (result.code, result.out) == (0, "1 deleted\n")


@pytest.mark.parametrize("id", ["-h3_" + "x" * 17 + "A", "--json" + "x" * 15 + "A"])
def test_ids_that_look_like_options(run, storage, ann, id):
    """An id may begin with a dash, and is found whole and by its beginning, wherever it stands among the options."""
    with SledStore.open(storage) as store:
        store.save(attrs.evolve(store.load(Id.parse(ann)), id=Id.parse(id)))
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
    assert run("sweep", storage, "--strategy", "index", "--dry-run").code == 0


@pytest.mark.parametrize("strategy", ["index", "full-scan"])
def test_a_dry_run_is_limited_as_a_sweep_is(run, storage, strategy):
    """--limit ends a dry run where it would end the sweep, and it says that there is more; --budget ends it, too."""
    limit = ("--limit", 2, "--strategy", strategy, "--json")
    (dry,), (real,) = (rows(run("sweep", storage, *limit, *option)) for option in (["--dry-run"], []))
    for each in (dry, real):
        assert (each["deleted"], each["examined"], each["complete"]) == (2, real["examined"], False)
    budget = ("--budget", 0, "--strategy", strategy, "--json")
    (dry,), (real,) = (rows(run("sweep", storage, *budget, *option)) for option in (["--dry-run"], []))
    assert (dry["complete"], dry["deleted"], real["deleted"]) == (False, 1, 1)


def test_a_budget_sweeps(run, storage):
    """A sweep with time enough sweeps everything."""
    assert "5 deleted" in run("sweep", storage, "--budget", "10s").out
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
    assert "1 missing from the index, 0 entries without a session" in run("verify", storage).out
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


def test_an_interrupted_reindex_says_what_is_left(run, storage, monkeypatch):
    """Ctrl-C during a reindex leaves no index: it says so, and so do verify and a sweep that asks for the index."""

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
def test_an_index_gets_no_index(run, storage, tree):
    """The trees of an index hold no sessions: taken for such, they would get an index of their own."""
    before = contents(storage)
    result = run("reindex", storage, "--tree", tree)
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert "'session'" in result.err
    assert contents(storage) == before


@pytest.mark.parametrize("tree", ["session:expiry", "cart:expiry", "cart:meta"])
def test_no_sessions_are_written_where_an_index_lies(run, tmp_path, storage, tree):
    """The place of an index, be there one or not, is no target of an import or a copy."""
    before = contents(storage)
    source = tmp_path / "more.jsonl"
    assert run("copy", storage, source).code == 0
    for command in (("import", storage, source), ("copy", source, storage)):
        result = run(*command, "--tree", tree)
        assert (result.code, result.err.count("\n")) == (1, 1)
        assert f"'{tree}'" in result.err
    assert contents(storage) == before
    assert run("import", tmp_path / "new", source, "--tree", tree).code == 1
    assert not (tmp_path / "new").exists()


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
    for option in ("--json", "--resume"):
        assert (run("export", storage, "-", option).code, run("export", storage, "-", option).out) == (2, "")
    assert run("import", tmp_path / "new", tmp_path / "out.jsonl").code == 0
    assert contents(tmp_path / "new") == contents(storage)
    (again,) = rows(run("import", tmp_path / "new", tmp_path / "out.jsonl", "--json"))
    assert (again["written"], again["kept"]) == (0, 35)


def test_an_interrupted_export_says_what_is_left(run, tmp_path, storage, monkeypatch):
    """Ctrl-C during an export leaves a file of sessions that a listing does not show: it is named, with the way on."""

    def interrupt(_):
        raise KeyboardInterrupt

    target = tmp_path / "out.jsonl"
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", interrupt)
        result = run("export", storage, target)
    assert (result.code, result.out) == (130, "")
    assert f"interrupted: {tmp_path / '.out.jsonl.partial'} is left" in result.err
    assert run("export", storage, target, "--resume").code == 0
    assert len(lines(target)) == 35


def test_only_a_bare_dash_is_the_standard_output(run, tmp_path, storage, monkeypatch):
    """A file may be called - as long as its folder is named."""
    monkeypatch.chdir(tmp_path)
    assert run("export", storage, "./-").code == 0
    assert len(lines(tmp_path / "-")) == 35


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
    assert "could not read 1 place;" in found.out
    assert run("verify", tmp_path / "rest").code == 0


@pytest.mark.parametrize("tree", ["cart", os.fsdecode(b"\xff")])
def test_salvage_into_a_tree(run, tmp_path, storage, monkeypatch, tree):
    """Sessions whose tree nobody knows go into the one that --tree names, which is none of an index."""
    pages = Pages.__iter__
    monkeypatch.setattr(Pages, "__iter__", lambda self: ((None, pairs) for _, pairs in pages(self)))
    assert "found 35 sessions outside" in run("salvage", storage, tmp_path / "rest", "--tree", tree).out
    assert len(rows(run("list", tmp_path / "rest", "--tree", tree, "--limit", "99", "--json"))) == 35
    assert run("salvage", storage, tmp_path / "more", "--tree", f"{tree}:expiry").code == 1
    assert not (tmp_path / "more").exists()


def test_errors_are_one_line_and_have_their_codes(run, tmp_path, storage):
    """Nothing there, the wrong format, a tree that is missing, wrong usage: one line on stderr, no traceback."""
    migrate(storage, tmp_path / "new", Format.V1_0)
    cases = [
        (("stats", tmp_path / "nowhere"), 1, "not a sled database"),
        (("list", storage, "--tree", "nothing"), 1, "no tree 'nothing'"),
        (("verify", tmp_path / "new"), 1, "sled-sessions migrate"),
        (("export", storage, tmp_path / "no" / "file"), 1, f"there is no folder {tmp_path / 'no'}"),
        (("backup", storage, tmp_path / "no" / "file"), 1, f"there is no folder {tmp_path / 'no'}"),
        (("restore", tmp_path / "no", tmp_path / "other"), 1, f"{tmp_path / 'no'}: No such file"),
        (("copy", storage, tmp_path / "out.txt"), 1, ".jsonl"),
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
        ("show", storage, "AB"),
    ):
        assert run(*arguments).code == 2
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("stats", "URL"),
        ("import", "URL", "lines.jsonl"),
        ("export", "storage", "URL"),
        ("backup", "storage", "URL"),
        ("restore", "backup", "URL"),
        ("compact", "storage", "URL"),
        ("counter", "--path", "URL"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_server_where_a_folder_belongs(run, tmp_path, monkeypatch, arguments):
    """The URL of a server is refused with the command that takes it, without its password, and no folder is made."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lines.jsonl").touch()
    result = run(*("redis://:secret@localhost:1" if each == "URL" else each for each in arguments))
    assert result.code == 2
    assert "is a server; `sled-sessions copy` takes its URL" in result.err
    assert "secret" not in result.err
    assert [path.name for path in tmp_path.iterdir()] == ["lines.jsonl"]


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
            assert "Stop that program first" in result.err
    finally:
        holder.communicate("\n")


def test_a_folder_that_is_read_only(run, storage, tmp_path):
    """Where nothing may be written it is said what to do, for a database and for a file to be made."""
    with mounted(tmp_path / "disk", "size=64m") as disk:
        shutil.copytree(storage, disk / "storage")
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        for arguments in (("stats", disk / "storage"), ("backup", storage, disk / "file")):
            result = run(*arguments)
            assert (result.code, result.err.count("\n")) == (1, 1)
            assert "writable" in result.err
            assert "partial" not in result.err


def test_what_is_no_file_of_sessions_makes_no_database(run, tmp_path):
    """A first line that is no session is told before there is a database, and so is a file that is missing."""
    (tmp_path / "in.jsonl").write_text("no session\n")
    for file in ("in.jsonl", "im.jsonl"):
        for arguments in (("import", tmp_path / "new", tmp_path / file), ("copy", tmp_path / file, tmp_path / "new")):
            assert run(*arguments).code in (1, 2)
            assert not (tmp_path / "new").exists()
    assert "line 1" in run("import", tmp_path / "new", tmp_path / "in.jsonl").err


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
        waiting.stdin.write(b"\n" * 1_000_000)  # more than lies in buffers: the command is reading
        waiting.send_signal(signal.SIGINT)
        assert waiting.wait(60) == 130
        assert waiting.stderr.read().strip() == b"sled-sessions: interrupted"
