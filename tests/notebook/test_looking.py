"""What a notebook asks for at a database: sessions with a value, and to open one that has lost a file."""

import pytest
from sessions import new_record

from sled_sessions import SledStore, sled


@pytest.mark.parametrize(
    "cell",
    [
        "%sessions_open {folder} --tree none",
        "%sessions_open 'x\x1b[31m'",
        "%sessions a\x1b[31mb",
        "%%session --id '\x1b[31m'\n1",
        "%%sessions\n(_ for _ in ()).throw(Exception('\\x1b[31m\\n'))",
    ],
    ids=str.split("tree folder store id exception"),
)
def test_a_mistake_obeys_nothing(run, tmp_path, store, cell):
    """Names of trees and texts of exceptions come in an error's line without their control characters."""
    with sled.open(tmp_path / "other") as db:
        db.open_tree("a\x1b[31mb\n")
    printed = run(cell.format(folder=tmp_path / "other"))[1]
    assert printed.startswith("UsageError: ")
    assert printed.count("\n") == 1
    assert "\x1b" not in printed
    assert "x1b" in printed


def test_where_means_the_same_as_on_the_command_line(run, store):
    """--where takes a path and JSON, as `sled-sessions list` does."""
    store.save(new_record(user={"name": "ann"}, tags=["a", "b"]))
    for condition in ("user.name=ann", '\'tags=["a","b"]\'', '\'user={"name": "ann"}\''):
        result, printed = run(f"%sessions --where {condition}")
        assert len(result.result.rows) == 1, printed


def test_a_folder_that_has_lost_a_file(run, tmp_path):
    """A database without its conf, which has nothing unusual, is opened; one without db is told to lack it."""
    with SledStore.open(tmp_path / "storage") as store:
        store.save(new_record())
    (tmp_path / "storage" / "conf").unlink()
    result, printed = run(f"%sessions_open {tmp_path}/storage")
    assert result.success, printed
    assert result.result.count() == 1
    result.result.close()
    (tmp_path / "storage" / "db").unlink()
    result, printed = run(f"%sessions_open {tmp_path}/storage")
    assert not result.success
    assert printed.count("\n") == 1
    assert "db is missing" in printed
    assert "--create" not in printed
