"""What somebody else put into a session or a file is told, and does nothing else."""

import json
import re
import subprocess
from datetime import UTC, datetime

import pytest
from command import COMMAND
from operate.databases import fill

from sled_sessions import Id, Record, SledStore, sled

CONTROLS = "".join(map(chr, [*range(127, 160), *range(32)]))
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
    """Names, keys and values are shown with their control characters escaped: a terminal would obey them."""
    command, *options = arguments
    result = run(command, storage, *options)
    shown = result.out + result.err
    assert len(shown) > 100
    assert not set(CONTROLS.replace("\n", "")) & set(shown)
    assert re.search(r"\\x9b|\\u009b", shown)


def test_a_copy_to_standard_output_has_no_control_characters(storage):
    """Lines that are copied to a terminal are as harmless as all else that is shown there."""
    lines = subprocess.run([*COMMAND, "copy", storage, "-"], capture_output=True, text=True, check=True).stdout
    assert not set(CONTROLS.replace("\n", "")) & set(lines)
    assert json.loads(lines)["data"]["nested"] == [{CONTROLS: CONTROLS}]


def test_json_with_escapes_is_json(run, storage):
    """What is escaped in JSON is the same text for the program that reads it."""
    for command in ("list", "export"):
        (line,) = run(command, storage, *(["-"] if command == "export" else ["--reveal", "--json"])).out.splitlines()
        assert json.loads(line)["data"]["nested"] == [{CONTROLS: CONTROLS}]


def test_a_tree_whose_name_is_no_text(tmp_path):
    """Every command reaches a tree whose name is no UTF-8, as the shell passes it; one that is missing is one line."""
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
    assert result.stdout == b"0 sessions written; 3 there already\n"


@pytest.mark.parametrize("tree", [b"\xff:expiry", b"\xff:meta"])
def test_an_index_whose_name_is_no_text(tmp_path, tree):
    """The place of an index is refused whatever the name before it."""
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
def test_a_line_that_no_session_can_hold(run, tmp_path, data):
    """A number, text or depth that no session can hold is one line that says which line has it."""
    fill(tmp_path / "storage", 1)
    line = f'{{"id":"AAAAAAAAAAAAAAAAAAAAAA","expiry_date":"2099-01-01T00:00:00Z","data":{data}}}'
    (tmp_path / "in.jsonl").write_text(f"\n{line}\n")
    result = run("import", tmp_path / "storage", tmp_path / "in.jsonl")
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert result.err.startswith("sled-sessions: line 2: not a session in JSON Lines format: ")
