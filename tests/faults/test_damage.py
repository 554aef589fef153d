"""Damaged files of a database of sessions: nothing is silently emptied, and what can be read is salvaged."""

import os
import random
import shutil

import pytest
from operate.databases import EXPIRY, fill

from sled_sessions import Id, Record, SessionError, SledStore, operate, sled

COUNT = 6_000  # several segments


@pytest.fixture(scope="module")
def databases(tmp_path_factory):
    """A database that was closed cleanly and never opened again, and one that was opened again; and their sessions."""
    folder = tmp_path_factory.mktemp("databases")
    records = fill(folder / "fresh", COUNT)
    shutil.copytree(folder / "fresh", folder / "reopened")
    sled.open(folder / "reopened").close()
    assert list((folder / "reopened").glob("snap.*"))
    return folder, {record.id: record for record in records}


def flip(file):
    """One bit in the middle."""
    overwrite(file, file.stat().st_size // 2, bytes([file.read_bytes()[file.stat().st_size // 2] ^ 1]))


def overwrite(file, start, content):
    """Other bytes at this place."""
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
    """All sessions of a database, or the error that came instead."""
    try:
        with SledStore.open(folder) as store:
            return {record.id: record for record in store.records()}
    except (sled.SledError, SessionError) as error:
        return error


@pytest.mark.parametrize("name", DAMAGES)
@pytest.mark.parametrize(("state", "pattern"), FILES)
def test_damage_is_told_or_harmless(tmp_path, databases, state, pattern, name):
    """Either every session can be read, or there is an error that names the folder and says what to do."""
    source, expected = databases
    folder = tmp_path / "storage"
    shutil.copytree(source / state, folder)
    (file,) = folder.glob(pattern)
    DAMAGES[name](file)
    found = read(folder)
    if found == expected:
        return
    assert isinstance(found, Exception), f"{len(found)} of {COUNT} sessions, without a word"
    assert "\n" not in str(found)
    for text in (folder, "Restore a backup", "salvage what can be read"):
        assert str(text) in str(found)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A database of which some pages are so large that sled keeps them in files of their own."""
    folder = tmp_path_factory.mktemp("large") / "storage"
    records = [Record(Id.new(), {"pad": "x" * (60_000 if number < 60 else 100)}, EXPIRY) for number in range(400)]
    with SledStore.open(folder) as store:
        for record in records:
            store.create(record)
    return folder, {record.id: record for record in records}


BLOB_DAMAGES = ["a flipped bit", "truncated to half", "truncated to nothing", "zeroed", "missing"]


@pytest.mark.parametrize("name", BLOB_DAMAGES)
def test_a_damaged_blob_is_told_or_harmless(tmp_path, large, name):
    """A damaged or missing file of a large page never hides a session: either all are there, or the error says it."""
    source, expected = large
    blobs = sorted((source / "blobs").iterdir(), key=lambda blob: int(blob.name))
    assert len(blobs) > 5
    told = 0
    for blob in [*blobs[:3], *blobs[-3:]]:
        folder = tmp_path / blob.name
        shutil.copytree(source, folder)
        DAMAGES[name](folder / "blobs" / blob.name)
        found = read(folder)
        if found == expected:
            continue
        told += 1
        assert isinstance(found, sled.Corruption), f"{len(found)} of {len(expected)} sessions, without a word"
        for text in (folder, f"blobs/{blob.name}", "Restore a backup", "salvage what can be read"):
            assert str(text) in str(found)
        operate.salvage(folder, tmp_path / f"rest of {blob.name}")
    assert told


def test_a_blob_that_was_replaced_may_be_missing(tmp_path, large):
    """A log may name the file of a page that was replaced since, and whose file sled removed."""
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
    assert before - set(os.listdir(folder / "blobs")), "sled removed none"
    for snapshot in folder.glob("snap.*"):  # so that the whole log is replayed
        snapshot.unlink()
    assert read(folder) == expected


@pytest.mark.parametrize("state", ["fresh", "reopened"])
@pytest.mark.parametrize("seed", range(10))
def test_noise_anywhere_is_told_or_harmless(tmp_path, databases, state, seed):
    """The same for a few bytes of noise, or a cut, at a random place of the log; and what is salvaged is right."""
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
    except operate.OperationError:  # what is left holds no page of a tree
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
def test_most_is_salvaged(tmp_path, databases, state, name):
    """One bad place costs the sessions of a few pages, and the report says that something is missing."""
    source, expected = databases
    shutil.copytree(source / state, tmp_path / "storage")
    DAMAGES[name](tmp_path / "storage" / "db")
    report = operate.salvage(tmp_path / "storage", tmp_path / "rest")
    assert len(read(tmp_path / "rest")) > 0.9 * COUNT
    assert report.is_incomplete or read(tmp_path / "rest") == expected


def test_a_lost_database_cannot_be_salvaged(tmp_path, databases):
    """Without its file db there is nothing to copy, and no folder is made."""
    shutil.copytree(databases[0] / "fresh", tmp_path / "storage")
    (tmp_path / "storage" / "db").unlink()
    with pytest.raises(operate.OperationError, match="restore a backup"):
        operate.salvage(tmp_path / "storage", tmp_path / "rest")
    assert not (tmp_path / "rest").exists()
