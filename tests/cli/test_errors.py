"""Errors on the command line: one line that names the cure, and the exit code."""

import shutil
import subprocess

import pytest
from faults.test_disk import mounted
from operate.databases import start

from sled_sessions import BackendError, sled
from sled_sessions.cli.errors import explain
from sled_sessions.operate import Format, migrate


def test_errors_are_one_line(run, tmp_path, storage):
    """A missing database, a wrong format, a missing tree: one line on stderr and code 1; wrong usage has code 2."""
    migrate(storage, tmp_path / "new", Format.V1_0)
    cases = [
        (("stats", tmp_path / "nowhere"), 1, "not a sled database: not found"),
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
    ("error", "code", "commands"),
    [
        (sled.Corruption("storage is damaged: db is missing"), 5, ["restore", "salvage"]),
        (sled.Corruption("/srv/sled-sessions is damaged"), 5, ["restore", "salvage"]),
        (sled.Corruption("storage is damaged: conf is missing. Restore a backup"), 5, ["restore"]),
        (sled.Corruption("storage contains snap.bak, which sled would take for a snapshot: remove it"), 5, []),
        (sled.Unsupported("storage was written by sled 1.0, a format"), 1, ["migrate storage NEW --to 0.34"]),
        (sled.Unsupported("storage was made with another segment size"), 1, []),
    ],
)
def test_commands_that_help(error, code, commands):
    """The commands that help are named once, after the engine's message."""
    assert explain(error)[0] == code
    message = explain(error)[1]
    assert message.startswith(str(error))
    assert message.count("sled-sessions ") - ("/srv" in message) == len(commands)
    assert all(message.count(f"sled-sessions {command}") == 1 for command in commands)


def test_errors_of_a_store():
    """An engine's error that a store passes on keeps its exit code; an unknown exception is a bug, with a traceback."""
    passed_on = BackendError("the store failed")
    passed_on.__cause__ = sled.DatabaseLocked("storage is open")
    assert explain(passed_on)[0] == 4
    assert explain(KeyError("a bug")) is None


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
def test_url_instead_of_a_folder(run, tmp_path, monkeypatch, arguments):
    """A server's URL is refused by naming the command that takes one, without its password, and creates no folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lines.jsonl").touch()
    result = run(*("redis://:secret@localhost:1" if each == "URL" else each for each in arguments))
    assert result.code == 2
    assert "is a server; `sled-sessions copy` takes its URL" in result.err
    assert "secret" not in result.err
    assert [path.name for path in tmp_path.iterdir()] == ["lines.jsonl"]


def test_database_open_elsewhere(run, storage):
    """While another process has the database open, commands say so in one line, with code 4."""
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


def test_read_only_folder(run, storage, tmp_path):
    """On a read-only file system the message says what to do, for a database and for a file to be created."""
    with mounted(tmp_path / "disk", "size=64m") as disk:
        shutil.copytree(storage, disk / "storage")
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        for arguments in (("stats", disk / "storage"), ("backup", storage, disk / "file")):
            result = run(*arguments)
            assert (result.code, result.err.count("\n")) == (1, 1)
            assert "writable" in result.err
            assert "partial" not in result.err


def test_damaged_database(run, storage):
    """A missing file is named, with the cure, and the code is 5."""
    (storage / "db").unlink()
    result = run("stats", storage)
    assert result.code == 5
    assert "db is missing" in result.err
    assert "sled-sessions restore" in result.err
    assert result.err.count("\n") == 1
