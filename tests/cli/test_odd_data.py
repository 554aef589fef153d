"""Hostile or unusual data in sessions and files is shown safely, or refused in one line."""

import json
import re
import subprocess
from datetime import UTC, datetime

import msgspec
import pytest
from command import COMMAND
from operate.databases import fill

from sled_sessions import Id, Record, SledStore, sled

CONTROLS = "".join(map(chr, [*range(127, 160), *range(32), *range(0x2028, 0x202F), *range(0x2066, 0x206A), 0x200B]))
ID = Id(bytes(16))


@pytest.fixture
def storage(tmp_path):
    """A database with every control character in a key, in a value and in the name of a tree."""
    data = {f"key{CONTROLS}": f"value{CONTROLS}", "nested": [{CONTROLS: CONTROLS}]}
    with SledStore.open(tmp_path / "storage") as store:
        store.save(Record(ID, data, datetime(2099, 1, 1, tzinfo=UTC)))
    with sled.open(tmp_path / "storage") as db:
        db.open_tree(f"tree{CONTROLS}".encode())
    return tmp_path / "storage"


@pytest.mark.parametrize(
    "arguments",
    [
        ("list",),
        ("list", "--reveal"),
        ("list", "--json"),
        ("show", str(ID)),
        ("show", str(ID), "--json"),
        ("stats",),
        ("stats", "--json"),
        ("stats", "--tree", "nothing"),
        ("export", "-"),
    ],
)
def test_no_control_character_reaches_the_terminal(run, storage, arguments):
    """Characters in names, keys and values that a terminal obeys or hides are escaped."""
    command, *options = arguments
    result = run(command, storage, *options)
    shown = result.out + result.err
    assert len(shown) > 100
    assert not set(CONTROLS.replace("\n", "")) & set(shown)
    assert re.search(r"\\x9b|\\u009b", shown)


def test_copy_to_standard_output_escapes_control_characters(storage):
    """A copy to standard output escapes control characters, and keeps the data."""
    lines = subprocess.run([*COMMAND, "copy", storage, "-"], capture_output=True, text=True, check=True).stdout
    assert not set(CONTROLS.replace("\n", "")) & set(lines)
    assert json.loads(lines)["data"]["nested"] == [{CONTROLS: CONTROLS}]


def test_escaped_json_is_valid(run, storage):
    """A program that parses the escaped JSON gets the original text."""
    for command in ("list", "export"):
        (line,) = run(command, storage, *(["-"] if command == "export" else ["--reveal", "--json"])).out.splitlines()
        assert json.loads(line)["data"]["nested"] == [{CONTROLS: CONTROLS}]


def test_tree_name_that_is_not_utf8(tmp_path):
    """Every command accepts a tree name that is not UTF-8; if the tree is missing, the error is one line."""
    name, source = b"\xff", tmp_path / "more.jsonl"
    fill(tmp_path / "storage", 3)
    subprocess.run([*COMMAND, "copy", tmp_path / "storage", source], check=True, capture_output=True)

    def call(command, *arguments):
        return subprocess.run([*COMMAND, command, *arguments, "--tree", name], capture_output=True, check=False)

    for command in ("stats", "list", "verify"):
        result = call(command, tmp_path / "storage")
        assert (result.returncode, result.stderr.count(b"\n")) == (1, 1), result.stderr
    for number, command in enumerate((["import", "0", source], ["copy", source, "1"], ["salvage", "storage", "2"])):
        result = call(*(tmp_path / each if number else each for number, each in enumerate(command)))
        assert result.returncode == 0, result.stderr
    for number in (0, 1):
        for command in ("stats", "list", "verify"):
            result = call(command, tmp_path / str(number))
            assert result.returncode == 0, result.stderr
        with sled.open(tmp_path / str(number)) as db:
            assert len(db.open_tree(name)) == 3
    result = call("import", tmp_path / "0", source, "--replace")
    assert result.stdout == b"0 sessions written; 3 existed already\n"


@pytest.mark.parametrize("tree", [b"\xff:expiry", b"\xff:meta"])
def test_index_name_that_is_not_utf8(tmp_path, tree):
    """A tree with an index's name is refused as a target, whatever bytes precede the suffix."""
    fill(tmp_path / "storage", 3)
    for command in (
        ["copy", tmp_path / "storage", tmp_path / "new"],
        ["salvage", tmp_path / "storage", tmp_path / "new"],
    ):
        result = subprocess.run([*COMMAND, *command, "--tree", tree], capture_output=True, check=False)
        assert (result.returncode, result.stderr.count(b"\n")) == (1, 1), result.stderr
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "data", ['{"n":18446744073709551616}', f'{{"n":{"1" * 400}}}', '{"n":"\\ud800"}', "[" * 100_000]
)
def test_line_with_unsupported_data(run, tmp_path, data):
    """A number, text or depth that a session cannot hold is refused by a message that names the line."""
    fill(tmp_path / "storage", 1)
    line = f'{{"id":"AAAAAAAAAAAAAAAAAAAAAA","expiry_date":"2099-01-01T00:00:00Z","data":{data}}}'
    (tmp_path / "in.jsonl").write_text(f"\n{line}\n")
    result = run("import", tmp_path / "storage", tmp_path / "in.jsonl")
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert result.err.startswith("sled-sessions: line 2: not a session in JSON Lines format: ")


def test_names_of_emoji_and_styles(run, tmp_path):
    """What a terminal library takes for an emoji's name or a style stays text."""
    with SledStore.open(tmp_path / "storage") as store:
        store.save(Record(ID, {":warning:": "[red]:warning:[/red]"}, datetime(2099, 1, 1, tzinfo=UTC)))
    for arguments in (("list", tmp_path / "storage"), ("show", tmp_path / "storage", ID)):
        shown = run(*arguments).out
        assert shown.count(":warning:") == 2
        assert "[red]:warning:[/red]" in shown


@pytest.mark.parametrize("resolution", [-5, 2**63, 2**64 - 1, "1 s", None])
def test_impossible_marker_of_an_index(run, tmp_path, resolution):
    """Commands go on as without an index, one that needs it ends in one line, and `reindex` mends the marker."""
    fill(tmp_path / "storage", 3, expired=2)
    with sled.open(tmp_path / "storage") as db:
        marker = msgspec.msgpack.encode({"version": 1, "resolution_us": resolution})
        db.open_tree("session:meta").insert(b"expiry_index", marker)
    for command, *options in (("stats",), ("list",), ("list", "--expiring-within", "99d"), ("verify",), ("sweep",)):
        result = run(command, tmp_path / "storage", *options)
        assert (result.code, "Traceback" in result.err) == (3 if options else 0, False), result.err
    result = run("sweep", tmp_path / "storage", "--strategy", "index")
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert "sled-sessions reindex" in result.err
    assert run("reindex", tmp_path / "storage").code == 0
    assert "in steps of 1 s" in run("stats", tmp_path / "storage").out
    with SledStore.open(tmp_path / "storage") as store:
        assert store.verify_index()
        assert store.count() == 3
