"""`sled-sessions export`, `import`, `backup`, `restore`, `compact`, `migrate` and `salvage`."""

import os

import pytest
from crafted import META, messages
from operate.databases import contents, lines


def test_export_and_import(run, rows, tmp_path, storage):
    """A file and a pipe get the same lines, and importing them restores the same sessions."""
    assert rows("export", storage, tmp_path / "out.jsonl") == [{"sessions": 35}]
    assert run("export", storage, "-").out == (tmp_path / "out.jsonl").read_text("utf-8")
    assert len(lines(tmp_path / "out.jsonl")) == 35
    assert run("export", storage, tmp_path / "out.jsonl").code == 1
    for option in ("--json", "--resume"):
        assert (run("export", storage, "-", option).code, run("export", storage, "-", option).out) == (2, "")
    assert run("import", tmp_path / "new", tmp_path / "out.jsonl").code == 0
    assert contents(tmp_path / "new") == contents(storage)
    (again,) = rows("import", tmp_path / "new", tmp_path / "out.jsonl")
    assert (again["written"], again["kept"]) == (0, 35)


def test_interrupted_export(run, tmp_path, storage, monkeypatch):
    """Ctrl-C during an export leaves a hidden file of sessions: the message names it, and how to continue."""

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


def test_export_to_a_file_named_dash(run, tmp_path, storage, monkeypatch):
    """Only a bare `-` is standard output; `./-` is a file."""
    monkeypatch.chdir(tmp_path)
    assert run("export", storage, "./-").code == 0
    assert len(lines(tmp_path / "-")) == 35


def test_invalid_file_creates_no_database(run, tmp_path):
    """A file that is missing, or whose first line is not a session, is refused before a database is created."""
    (tmp_path / "in.jsonl").write_text("not a session\n")
    for file in ("in.jsonl", "missing.jsonl"):
        for arguments in (("import", tmp_path / "new", tmp_path / file), ("copy", tmp_path / file, tmp_path / "new")):
            assert run(*arguments).code in (1, 2)
            assert not (tmp_path / "new").exists()
    assert "line 1" in run("import", tmp_path / "new", tmp_path / "in.jsonl").err


@pytest.mark.parametrize("tree", ["session:expiry", "cart:expiry", "cart:meta"])
def test_no_sessions_in_the_trees_of_an_index(run, tmp_path, storage, tree):
    """Import and copy refuse a tree with the name of an index, whether or not there is one."""
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


def test_backup_restore_compact_and_migrate(run, tmp_path, storage):
    """Each creates a copy with the same contents, prints its checksum, and overwrites nothing."""
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
    """An undamaged database is salvaged completely; a damaged one gives exit code 3 and a report of the loss."""
    assert run("salvage", storage, tmp_path / "whole").code == 0
    data = bytearray((storage / "db").read_bytes())
    data[data.rindex(b"secret-value")] ^= 1  # in the page that was written last
    (storage / "db").write_bytes(data)
    found = run("salvage", storage, tmp_path / "rest")
    assert found.code == 3
    assert "could not read 1 place;" in found.out
    assert run("verify", tmp_path / "rest").code == 0


@pytest.mark.parametrize("tree", ["cart", os.fsdecode(b"\xff")])
def test_salvage_into_a_tree(run, rows, tmp_path, storage, tree):
    """Sessions whose tree is unknown go into the tree named by --tree, which must not be an index's."""
    log = bytearray((storage / "db").read_bytes())
    for message in list(messages(log, 1 << 19)):
        if message.kind == META:  # it names the trees
            log[message.start] ^= 1
    (storage / "db").write_bytes(log)
    assert "found 35 sessions outside" in run("salvage", storage, tmp_path / "rest", "--tree", tree).out
    assert len(rows("list", tmp_path / "rest", "--tree", tree, "--limit", "99")) == 35
    assert run("salvage", storage, tmp_path / "more", "--tree", f"{tree}:expiry").code == 1
    assert not (tmp_path / "more").exists()
