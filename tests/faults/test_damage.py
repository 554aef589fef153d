"""Damaged database files: no session is lost without an error, and readable ones are salvaged."""

import os
import random
import shutil

import pytest
from operate.databases import EXPIRY, fill

from sled_sessions import Id, Record, SessionError, SledStore, operate, sled

COUNT = 6_000  # enough for several segments


@pytest.fixture(scope="module")
def databases(tmp_path_factory):
    """A folder with two databases, one closed cleanly ("fresh") and one opened again since; and their sessions."""
    folder = tmp_path_factory.mktemp("databases")
    records = fill(folder / "fresh", COUNT)
    shutil.copytree(folder / "fresh", folder / "reopened")
    sled.open(folder / "reopened").close()
    assert list((folder / "reopened").glob("snap.*"))
    return folder, {record.id: record for record in records}


def flip(file):
    """Flip one bit in the middle."""
    overwrite(file, file.stat().st_size // 2, bytes([file.read_bytes()[file.stat().st_size // 2] ^ 1]))


def overwrite(file, start, content):
    """Overwrite the bytes from `start` on."""
    with file.open("r+b") as opened:
        opened.seek(start)
        opened.write(content)


DAMAGES = {
    "truncated to half": lambda file: os.truncate(file, file.stat().st_size // 2),
    "truncated to nothing": lambda file: os.truncate(file, 0),
    "a flipped bit": flip,
    "a flipped bit at the start": lambda file: overwrite(file, 0, bytes([file.read_bytes()[0] ^ 1])),
    "a zeroed page": lambda file: overwrite(file, file.stat().st_size // 2 // 4096 * 4096, bytes(4096)),
    "a zeroed segment": lambda file: overwrite(file, 524_288, bytes(524_288)),
    "zeroed": lambda file: overwrite(file, 0, bytes(file.stat().st_size)),
    "missing": lambda file: file.unlink(),
}
FILES = [("fresh", "db"), ("fresh", "conf"), ("reopened", "db"), ("reopened", "conf"), ("reopened", "snap.*")]


def read(folder):
    """All sessions of a database, or the error that opening or reading it raises."""
    try:
        with SledStore.open(folder) as store:
            return {record.id: record for record in store.records()}
    except (sled.SledError, SessionError) as error:
        return error


@pytest.mark.parametrize("name", DAMAGES)
@pytest.mark.parametrize(("state", "pattern"), FILES)
def test_damage_is_reported_or_harmless(tmp_path, databases, state, pattern, name):
    """Either every session can be read, or the error names the folder and says what to do."""
    source, expected = databases
    folder = tmp_path / "storage"
    shutil.copytree(source / state, folder)
    (file,) = folder.glob(pattern)
    DAMAGES[name](file)
    found = read(folder)
    if found == expected:
        return
    assert isinstance(found, Exception), f"{len(found)} of {COUNT} sessions, without an error"
    assert "\n" not in str(found)
    for text in (folder, "Restore a backup", "salvage what can be read"):
        assert str(text) in str(found)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A database with some pages so large that sled keeps them in separate blob files."""
    folder = tmp_path_factory.mktemp("large") / "storage"
    records = [Record(Id.new(), {"pad": "x" * (60_000 if number < 60 else 100)}, EXPIRY) for number in range(400)]
    with SledStore.open(folder) as store:
        for record in records:
            store.create(record)
    return folder, {record.id: record for record in records}


BLOB_DAMAGES = ["a flipped bit", "truncated to half", "truncated to nothing", "zeroed", "missing"]


@pytest.mark.parametrize("name", BLOB_DAMAGES)
def test_damaged_blob_is_reported_or_harmless(tmp_path, large, name):
    """A damaged or missing blob never hides a session: either all can be read, or there is an error."""
    source, expected = large
    blobs = sorted((source / "blobs").iterdir(), key=lambda blob: int(blob.name))
    assert len(blobs) > 5
    reported = 0
    for blob in [*blobs[:3], *blobs[-3:]]:
        folder = tmp_path / blob.name
        shutil.copytree(source, folder)
        DAMAGES[name](folder / "blobs" / blob.name)
        found = read(folder)
        if found == expected:
            continue
        reported += 1
        assert isinstance(found, sled.Corruption), f"{len(found)} of {len(expected)} sessions, without an error"
        for text in (folder, f"blobs/{blob.name}", "Restore a backup", "salvage what can be read"):
            assert str(text) in str(found)
        operate.salvage(folder, tmp_path / f"rest of {blob.name}")
    assert reported


def test_replaced_blob_may_be_missing(tmp_path, large):
    """The log may name the blob of a page that has been replaced since, and whose file sled has removed."""
    source, expected = large
    folder = tmp_path / "storage"
    shutil.copytree(source, folder)
    before = set(os.listdir(folder / "blobs"))
    expected = dict(expected)
    with SledStore.open(folder) as store:
        for text in "abcd":
            for id in expected:
                expected[id] = Record(id, {"pad": text * 3_000}, EXPIRY)
                store.save(expected[id])
    assert before - set(os.listdir(folder / "blobs")), "sled removed no blob"
    for snapshot in folder.glob("snap.*"):  # so that sled replays the whole log
        snapshot.unlink()
    assert read(folder) == expected


@pytest.mark.parametrize("state", ["fresh", "reopened"])
@pytest.mark.parametrize("seed", range(10))
def test_random_damage_is_reported_or_harmless(tmp_path, databases, state, seed):
    """Random bytes, or a cut, at a random place in the log are reported or harmless, and salvaged data is correct."""
    source, expected = databases
    folder = tmp_path / "storage"
    shutil.copytree(source / state, folder)
    chance = random.Random(seed)
    size = (folder / "db").stat().st_size
    if seed % 3:
        overwrite(folder / "db", chance.randrange(size), chance.randbytes(chance.choice((1, 30, 5000))))
    else:
        os.truncate(folder / "db", chance.randrange(size))
    before = (folder / "db").read_bytes()
    try:
        report = operate.salvage(folder, tmp_path / "rest")
    except operate.OperationError:  # the rest of the file holds no page of a tree
        assert not seed % 3
    else:
        rest = read(tmp_path / "rest")
        assert rest.items() <= expected.items()
        assert report.is_incomplete or rest == expected
    assert (folder / "db").read_bytes() == before
    found = read(folder)
    assert isinstance(found, Exception) or found == expected


@pytest.mark.parametrize("state", ["fresh", "reopened"])
@pytest.mark.parametrize("name", ["a flipped bit", "a zeroed page"])
def test_most_sessions_are_salvaged(tmp_path, databases, state, name):
    """Damage in one place loses the sessions of a few pages, and the report says that the copy is incomplete."""
    source, expected = databases
    shutil.copytree(source / state, tmp_path / "storage")
    DAMAGES[name](tmp_path / "storage" / "db")
    report = operate.salvage(tmp_path / "storage", tmp_path / "rest")
    assert len(read(tmp_path / "rest")) > 0.9 * COUNT
    assert report.is_incomplete or read(tmp_path / "rest") == expected


def test_salvage_without_the_db_file(tmp_path, databases):
    """Without its file db a database cannot be salvaged, and no folder is created."""
    shutil.copytree(databases[0] / "fresh", tmp_path / "storage")
    (tmp_path / "storage" / "db").unlink()
    with pytest.raises(operate.OperationError, match="restore a backup"):
        operate.salvage(tmp_path / "storage", tmp_path / "rest")
    assert not (tmp_path / "rest").exists()
