"""The program around the commands: help, standard files, encodings, signals."""

import os
import signal
import subprocess
import sys

import attrs
import pytest
from command import COMMAND
from operate.databases import contents, fill

from sled_sessions import Id, SledStore
from sled_sessions.cli import _COMMANDS


@pytest.mark.parametrize("name", _COMMANDS)
def test_every_command_has_help(run, name):
    """--help works for each command and describes it."""
    result = run(name, "--help")
    assert result.code == 0
    assert len(result.out) > 100


def test_help_lists_all_commands(run):
    """The overview names every command and the exit codes."""
    result = run("--help")
    assert all(f"  {name} " in result.out for name in _COMMANDS)
    assert "Exit codes" in result.out


def test_overview_imports_no_command():
    """The overview is fast: it imports the module of no command."""
    code = "import sys; from sled_sessions import cli\ntry: cli.main()\nfinally: print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True).stdout
    assert not [
        name for name in shown.split() if name.startswith("sled_sessions.cli.") and name.split(".")[2] in _COMMANDS
    ]
    assert "sled_sessions.operate" not in shown.split()


@pytest.mark.parametrize("closed", ["0", "1", "2"])
def test_closed_standard_file(storage, tmp_path, closed):
    """A standard file that the shell has closed acts as /dev/null: no traceback, and no database file is written to."""
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
def test_terminal_without_unicode(storage, ann, locale):
    """Characters that the terminal's encoding lacks are escaped and make no command fail."""
    with SledStore.open(storage) as store:
        store.update(Id.parse(ann), lambda record: attrs.evolve(record, data={"name": "Ωµ…"}))
    for arguments in (("list", storage), ("show", storage, ann), ("stats", storage), ("--help",), ("list", "--help")):
        command = subprocess.run([*COMMAND, *arguments], capture_output=True, check=False, env=os.environ | locale)
        assert (command.returncode, command.stderr) in ((0, b""), (0, b"There are more: --page 2\n"))
        assert command.stdout
    shown = subprocess.run([*COMMAND, "show", storage, ann], capture_output=True, env=os.environ | locale).stdout
    assert rb"\u03a9" in shown


def test_runs_as_a_module(storage):
    """`python -m sled_sessions` runs the command."""
    command = subprocess.run(
        [sys.executable, "-m", "sled_sessions", "stats", storage], capture_output=True, text=True, check=True
    )
    assert "live sessions" in command.stdout


def test_closed_pipe_and_interrupt(tmp_path):
    """`| head` ends an export silently, and Ctrl-C ends any command with code 130."""
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
        waiting.stdin.write(b"\n" * 1_000_000)  # more than the buffers hold, so the command has begun to read
        waiting.send_signal(signal.SIGINT)
        assert waiting.wait(60) == 130
        assert waiting.stderr.read().strip() == b"sled-sessions: interrupted"
