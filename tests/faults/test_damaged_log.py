"""Damage at any place of the log: what cannot be read is reported as lost, however sled has laid out its pages."""

import random
import shutil
from pathlib import Path

import pytest
from operate.databases import EXPIRY

from sled_sessions import BackendError, Id, Record, SledStore, operate, sled

SEGMENT = 1 << 15
COUNT = 300
PLACES = 8

# How often sled's flusher runs decides how pages are divided into messages, and messages into segments.
FLUSHES = {"never": (None, None), "always": (1, None), "often": (None, 5), "seldom": (None, 500)}
STATES = ["fresh", "reopened", "continued"]


def opened(folder: Path, flush: str) -> SledStore:
    """A store on small segments."""
    db = sled.open(folder, segment_size=SEGMENT, flush_every_ms=FLUSHES[flush][0])
    return SledStore(db.open_tree("session"))


def churn(store: SledStore, flush: str, chance: random.Random, writes: int) -> None:
    """Save sessions of various sizes, in part again and again, and remove some."""
    interval = FLUSHES[flush][1] or writes
    ids = [Id(chance.randbytes(16)) for _ in range(COUNT)]
    for number in range(writes):
        id = chance.choice(ids)
        if chance.random() < 0.1:
            store.delete(id)
        else:
            store.save(Record(id, {"n": number, "pad": "x" * chance.choice((10, 100, 600))}, EXPIRY))
        if number % interval == 0:
            store.flush()


def build(folder: Path, state: str, flush: str) -> None:
    """Write a database whose log has segments that were used again and, once reopened, some that sled has emptied."""
    chance = random.Random(f"{state} {flush}")
    with opened(folder, flush).tree.db as db:
        store = SledStore(db.open_tree("session"))
        churn(store, flush, chance, 3_000)
        for record in list(store.records())[: COUNT * 9 // 10]:
            store.delete(record.id)
        churn(store, flush, chance, 200)
    if state != "fresh":
        with sled.open(folder) as db:
            churn(SledStore(db.open_tree("session")), flush, chance, 0 if state == "reopened" else 400)


def sessions(folder: Path) -> dict[Id, Record]:
    """All sessions of a database."""
    with SledStore.open(folder) as store:
        return {record.id: record for record in store.records()}


def read(folder: Path) -> dict[Id, Record] | str:
    """All sessions of a database, or "damaged" if opening or reading it says so."""
    try:
        return sessions(folder)
    except sled.Corruption:
        return "damaged"
    except BackendError as error:
        if not isinstance(error.__cause__, sled.Corruption):
            raise
        return "damaged"


def damage(log: bytearray, chance: random.Random) -> str:
    """Damage one place of the log; returns a description."""
    at = chance.randrange(len(log))
    kind = chance.choice(("flipped bit", "zeroed sector", "zeroed page", "zeroed end of a segment", "zeroed segment"))
    if kind == "flipped bit":
        log[at] ^= 1 << chance.randrange(8)
        return f"{kind} at {at}"
    size = {"zeroed sector": 512, "zeroed page": 4096}.get(kind, SEGMENT)
    start = at if kind == "zeroed end of a segment" else at - at % size
    stop = min(at - at % size + size, len(log))
    log[start:stop] = bytes(stop - start)
    return f"{kind} at {start}"


@pytest.mark.parametrize("flush", FLUSHES)
@pytest.mark.parametrize("state", STATES)
def test_loss_is_reported(tmp_path, state, flush):
    """Salvage yields every session, or reports a loss; opening yields every session, or raises Corruption."""
    whole = tmp_path / "whole"
    build(whole, state, flush)
    shutil.copytree(whole, tmp_path / "copy")
    expected = sessions(tmp_path / "copy")
    assert expected
    assert not operate.salvage(whole, tmp_path / "salvaged").is_incomplete, "a loss without damage"
    assert sessions(tmp_path / "salvaged") == expected
    chance = random.Random(f"{state} {flush}")
    log = (whole / "db").read_bytes()
    for place in range(PLACES):
        damaged = bytearray(log)
        description = damage(damaged, chance)
        folder, rest = tmp_path / f"damaged {place}", tmp_path / f"rest {place}"
        shutil.copytree(whole, folder)
        (folder / "db").write_bytes(damaged)
        report = operate.salvage(folder, rest)
        found = sessions(rest)
        assert report.is_incomplete or found == expected, description
        assert read(folder) in (expected, "damaged"), description


def test_entries_without_marker_are_left_out(tmp_path):
    """If damage hits the marker of an index, salvage leaves out its entries too, so that a store can open the rest."""
    build(tmp_path / "old", "fresh", "always")
    expected = sessions(tmp_path / "old")
    file = tmp_path / "old" / "db"
    log = file.read_bytes()
    assert b"expiry_index" in log
    file.write_bytes(log.replace(b"expiry_index", b"EXPIRY_INDEX"))  # the checksum is wrong now
    assert operate.salvage(tmp_path / "old", tmp_path / "new").is_incomplete
    assert sessions(tmp_path / "new") == expected
