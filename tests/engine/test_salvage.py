"""Salvaging yields what sled would, and counts as lost only what is unreadable."""

import itertools
import random
import shutil
import tarfile
from pathlib import Path

import pytest
from reference import DATA

from sled_sessions import sled
from sled_sessions.sled.salvage import Pages

SEGMENT = 524_288


def salvaged(folder: Path) -> tuple[dict[bytes | None, dict[bytes, bytes]], int]:
    """The pairs of each tree, and the number of unreadable places."""
    pages = Pages(folder)
    trees: dict[bytes | None, dict[bytes, bytes]] = {}
    for name, pairs in pages:
        trees.setdefault(name, {}).update(pairs)
    return {name: pairs for name, pairs in trees.items() if pairs}, pages.lost


@pytest.mark.parametrize("seed", range(6))
def test_merged_pages(tmp_path: Path, seed: int) -> None:
    """A merged page, whose number another tree may have, is not followed: every tree gets its own pairs."""
    chance = random.Random(seed)
    folder = tmp_path / "storage"
    with sled.open(folder, flush_every_ms=None) as db:
        trees = [db.open_tree(name) for name in ("a", "b")]
        for _ in range(8):
            for tree in trees:
                for _ in range(chance.choice((200, 1500))):
                    tree.insert(chance.randbytes(8), chance.randbytes(chance.randrange(300)))
            shrinking = chance.choice(trees)
            first = chance.choice((b"", b"\x80"))
            for key, _ in list(shrinking.range(first, None)):
                if chance.random() < 0.9:
                    shrinking.remove(key)
            db.flush()
            copy = tmp_path / "copy"
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(folder, copy)
            expected = {tree.name: dict(tree) for tree in trees if not tree.is_empty()}
            assert salvaged(copy) == (expected, 0)


def test_reused_page(tmp_path: Path) -> None:
    """If the change that took a page out of one tree is lost, the page is not read as that tree's in its new use.

    In `data/reused_page.tar.xz`, keys of the tree `session` have 16 bytes, those of `session:expiry` 24 and no values.
    """
    with tarfile.open(DATA / "reused_page.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    trees, lost = salvaged(tmp_path)
    assert lost
    assert {len(key) for key in trees[b"session"]} == {16}
    assert not any(trees[b"session:expiry"].values())


def test_log_that_fills_its_segment(tmp_path: Path) -> None:
    """A log that ends with its segment is complete; sled continues it in the next segment."""
    for attempt in itertools.count():
        folder = tmp_path / str(attempt)
        with sled.open(folder, flush_every_ms=None) as db:
            db.flush()
            pairs = 0
            while (size := (folder / "db").stat().st_size) < SEGMENT - 2_500:
                db.insert((pairs % 300).to_bytes(8, "big"), b"v" * 700)
                db.flush()
                pairs += 1
            db.insert(b"k" * 8, b"v" * (SEGMENT - size - 35 - attempt % 12))
            db.flush()
            if (folder / "db").stat().st_size == SEGMENT:
                break
        assert attempt < 100, "no log ended there"
    sled.open(folder).close()
    assert (folder / f"snap.{SEGMENT:016X}").exists()
    trees, lost = salvaged(folder)
    assert (len(trees[b"__sled__default"]), lost) == (min(pairs, 300) + 1, 0)


SMALL = 1 << 15


def write(db: sled.Db, flush_each: int, count: int) -> None:
    """Overwrite some hundred keys again and again, so that segments are used again."""
    chance = random.Random(count)
    for number in range(count):
        db.insert(chance.randrange(300).to_bytes(8, "big"), chance.randbytes(chance.choice((20, 200, 600))))
        if number % flush_each == 0:
            db.flush()


def numbers(log: bytes) -> list[int]:
    """The number of each segment in the order of the log; -1 for those that sled has emptied."""
    starts = (log[start : start + 12] for start in range(0, len(log), SMALL))
    return [(int.from_bytes(each[4:], "little") ^ (1 << 63) - 1) // SMALL if any(each) else -1 for each in starts]


def zeroed(whole: Path, copy: Path, start: int, stop: int) -> Path:
    """A copy of a database with these bytes of its log zeroed."""
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(whole, copy)
    log = bytearray((whole / "db").read_bytes())
    log[start:stop] = bytes(stop - start)
    (copy / "db").write_bytes(log)
    return copy


@pytest.mark.parametrize("flush_each", [1, 30, 10_000])
def test_end_of_a_segment(tmp_path: Path, flush_each: int) -> None:
    """Damage to the last messages of a segment, after which nothing can be read, is a loss."""
    whole = tmp_path / "whole"
    with sled.open(whole, segment_size=SMALL, flush_every_ms=None) as db:
        write(db, flush_each, 2_000)
    assert salvaged(whole)[1] == 0
    log = (whole / "db").read_bytes()
    order = numbers(log)
    assert len(order) > 5
    for segment, number in enumerate(order):
        if number == max(order):
            continue  # a segment that is used again ends with older messages
        start = segment * SMALL
        stop = start + len(log[start : start + SMALL].rstrip(b"\0"))  # sled pads with zeros
        assert salvaged(zeroed(whole, tmp_path / "copy", stop - 200, stop))[1] > 0
        with pytest.raises(sled.Corruption):
            sled.open(tmp_path / "copy")


@pytest.mark.parametrize(("writes", "is_noted"), [(0, True), (0, False), (100, True)])
def test_zeroed_segments(tmp_path: Path, writes: int, is_noted: bool) -> None:
    """A zeroed segment is a loss if it was in use, by the note of a clean close or by sled's snapshot."""
    for attempt in itertools.count():
        whole = tmp_path / str(attempt)
        with sled.open(whole, segment_size=SMALL, flush_every_ms=None) as db:
            write(db, 10_000, 4_000)
            for key, _ in list(db)[20:]:
                db.remove(key)
            write(db, 10_000, 100)
        with sled.open(whole, flush_every_ms=None) as db:
            write(db, 10_000, writes)
        order = numbers((whole / "db").read_bytes())
        if -1 in order:
            break
        assert attempt < 20, "sled has emptied no segment"
    if not is_noted:
        (whole / "end").unlink()  # a Rust program writes none
    pairs, lost = salvaged(whole)
    assert lost == 0
    assert len(order) - order.count(-1) > 3
    for segment, number in enumerate(order):
        if number == -1:
            continue
        copy = zeroed(whole, tmp_path / "copy", segment * SMALL, (segment + 1) * SMALL)
        found, lost = salvaged(copy)
        assert lost or found == pairs
        if is_noted:
            assert lost
            try:
                with sled.open(copy) as db:
                    assert dict(db) == pairs[b"__sled__default"]
            except sled.Corruption:
                pass


def test_unreadable_blob(tmp_path: Path) -> None:
    """A value whose blob is damaged in any way is counted as lost, and the others are salvaged."""
    with sled.open(tmp_path / "storage") as db:
        for number in range(100):
            db.insert(number.to_bytes(8, "big"), bytes(30))
        db.insert(b"large", bytes(300_000))
    (blob,) = (tmp_path / "storage" / "blobs").iterdir()
    whole = blob.read_bytes()
    assert salvaged(tmp_path / "storage")[1] == 0
    for content in (b"", bytes(4), bytes(5), whole[:4] + b"\x09" + whole[5:], whole[:1000]):
        blob.write_bytes(content)
        trees, lost = salvaged(tmp_path / "storage")
        assert (len(trees[b"__sled__default"]), lost) == (100, 1)
