"""One record that is not a session's counts, and stops no command."""

import json

import pytest
from odd_records import ID, LATER, VALUES, deepest, record_with

from sled_sessions import MemoryStore, Record, SledStore, operate


@pytest.fixture
def odd(tmp_path):
    """A database with each odd record and three sessions; returns its folder and the number of odd records."""
    with SledStore.open(tmp_path / "odd", max_record_bytes=10**6) as store:
        for number in range(3):
            store.create(Record(type(ID).new(), {"ok": number}, LATER))
        for value in VALUES.values():
            id = type(ID).new()
            store.tree.insert(id.key, record_with(value, id))
        store.rebuild_index()
    return tmp_path / "odd", len(VALUES)


def test_commands_count_odd_records(run, rows, odd, tmp_path):
    """Every command goes on past odd records, says how many there are, and shows or copies the others."""
    folder, count = odd
    listed = rows("list", folder, "--limit", 100)
    assert [each["data"] for each in listed].count(None) == count
    assert len(listed) == count + 3
    assert run("list", folder, "--limit", 100).out.count("unreadable") == count
    assert len(rows("list", folder, "--where", "ok=1")) == 1
    assert len(rows("list", folder, "--expiring-within", "99999d")) == 3
    assert json.loads(run("verify", folder, "--json").out)["unreadable"] == count
    (stats,) = rows("stats", folder)
    assert (stats["sessions"], stats["unreadable"]) == (3, count)
    copied = run("copy", folder, tmp_path / "copy", "--json")
    assert copied.code == 3
    assert json.loads(copied.out) | {"copied": 3, "failed": count} == json.loads(copied.out)
    run("copy", folder, tmp_path / "copy.jsonl")
    assert len((tmp_path / "copy.jsonl").read_bytes().splitlines()) == 3
    (swept,) = rows("sweep", folder, "--strategy", "full-scan")
    assert swept["deleted"] == 0
    assert run("reindex", folder).code == 0


def test_odd_records_survive_an_export(run, odd, tmp_path):
    """An export and an import restore odd records byte for byte, and the import counts those of readable length."""
    folder, count = odd
    assert run("export", folder, tmp_path / "all.jsonl").code == 0
    with operate.opened_store(folder) as store, (tmp_path / "all.jsonl").open("rb") as lines:
        before = list(store.tree)
        with SledStore.open(tmp_path / "imported", max_record_bytes=10**6) as target:
            report = operate.import_sessions(target, lines)
            assert (report.written, report.unreadable) == (count + 3, count)
            assert list(target.tree) == before


def test_show_odd_record(run, tmp_path):
    """`show` says in one line that the record is unreadable; `delete` removes it."""
    with SledStore.open(tmp_path / "odd") as store:
        store.tree.insert(ID.key, record_with(VALUES["binary"]))
    result = run("show", tmp_path / "odd", str(ID))
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert "not a valid session record" in result.err
    assert run("delete", tmp_path / "odd", str(ID)).code == 0


def test_deepest_session(run, rows, tmp_path):
    """A session as deeply nested as a store accepts is listed, shown, copied and drawn like any other."""
    memory = MemoryStore()
    with SledStore.open(tmp_path / "deep") as store:
        for each in (store, memory):
            each.save(deepest())
            assert "unreadable" not in each._repr_html_()
    for command in (("list",), ("show", str(ID)), ("list", "--reveal"), ("show", str(ID), "--reveal")):
        for form in ((), ("--json",)):
            result = run(command[0], tmp_path / "deep", *command[1:], *form)
            assert (result.code, "[[[[" in result.out) == (0, True), result.err
    assert run("copy", tmp_path / "deep", tmp_path / "copy.jsonl").code == 0
    assert run("copy", tmp_path / "copy.jsonl", tmp_path / "copied").code == 0
    with SledStore.open(tmp_path / "copied") as store:
        assert store.load(ID) == deepest()
