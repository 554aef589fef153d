"""What a notebook asks for at a database: sessions with a value, and to open one that has lost a file."""

from sessions import new_record

from sled_sessions import SledStore


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
