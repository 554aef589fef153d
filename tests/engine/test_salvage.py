"""Salvaging yields what sled would, and counts as lost only what is unreadable."""

import itertools
import random
import shutil
from pathlib import Path

import pytest

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
