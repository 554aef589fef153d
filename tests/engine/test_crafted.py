"""Databases whose checksums are right and whose content was made to harm: opening refuses them."""

import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from crafted import LINK, META, NODE, Message, change_frame, change_message, change_snapshot, messages, varint

from sled_sessions import sled
from sled_sessions.sled import v1

SEGMENT = 1 << 19

ABSENT = 240
"""A number beyond all lengths and counts in these pages, in one byte as sled writes it."""


def put(at: int, value: int | None) -> Callable[[Message, bytearray], None]:
    """Change the byte at this place of a message's content; None stands for the page's own number."""
    return lambda message, content: content.__setitem__(at, message.page if value is None else value)


# What is changed in the last message of a kind, and where. A page begins with the next page's number, that of a child
# which is being merged, two bytes, its lower and upper bound, its kind and the number of its keys.
CHANGES = {
    "a merge in a leaf": (LINK, put(0, 2)),
    "a change of an unknown kind": (LINK, put(0, 9)),
    "a key longer than its change": (LINK, put(1, ABSENT)),
    "a page that follows itself": (NODE, put(0, None)),
    "a merge of a page that is not its child": (NODE, put(1, 239)),
    "a bound longer than the page": (NODE, put(4, ABSENT)),
    "more keys than bytes": (NODE, put(7, ABSENT)),
    "a name longer than all names": (META, put(0, ABSENT)),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that sled has opened again, so that there is a snapshot."""
    folder = tmp_path_factory.mktemp("whole") / "storage"
    for _ in range(2):
        with sled.open(folder) as db:
            for number in range(300):
                db.open_tree("tree").insert(f"{number:04}".encode(), b"v" * 30)
    assert list(folder.glob("snap.*"))
    return folder


@pytest.mark.parametrize("change", CHANGES)
def test_crafted_log(tmp_path: Path, whole: Path, change: str) -> None:
    """A message with a right checksum and impossible content is Corruption, before sled reads it."""
    kind, edit = CHANGES[change]
    folder = tmp_path / "storage"
    shutil.copytree(whole, folder)
    log = bytearray((folder / "db").read_bytes())
    # The first leaf of a tree has no bounds, so the places in its content are known.
    fit = [it for it in messages(log, SEGMENT) if it.kind == kind and (kind != NODE or not any(log[it.start :][:6]))]
    content = log[fit[-1].start : fit[-1].stop]
    edit(fit[-1], content)
    change_message(log, fit[-1], content)
    (folder / "db").write_bytes(log)
    with pytest.raises(sled.Corruption, match="the file db is, at byte"):
        sled.open(folder)


def test_crafted_snapshot(tmp_path: Path, whole: Path) -> None:
    """A snapshot that names a part of the log behind its own end is Corruption: sled would wait for it."""
    folder = tmp_path / "storage"
    shutil.copytree(whole, folder)
    (file,) = folder.glob("snap.*")

    def change(content: bytearray) -> None:
        _, first_page = varint(content, 8)
        struct.pack_into("<Q", content, first_page + 1, 1 << 60)

    change_snapshot(file, change)
    with pytest.raises(sled.Corruption, match=r"the file snap\.… is not what sled wrote"):
        sled.open(folder)


@pytest.mark.parametrize("entry", [(1, 0, 4 << 56, 1 << 60), (1, 0, 200 << 56, 0), (0, 0, 0, 0)])
def test_crafted_metadata(tmp_path: Path, entry: tuple[int, ...]) -> None:
    """Metadata of sled 1.0 with an impossible length, slab or object is Corruption: sled would abort the process."""
    folder = tmp_path / "storage"
    with v1.Db(folder):
        pass
    (file,) = (folder / "metadata").glob("snapshot_*")
    data = struct.pack("<4Q", *entry)
    # One raw block of zstd, in a frame that says its size.
    change_frame(file, b"\x28\xb5\x2f\xfd\x20" + bytes([len(data)]) + (len(data) << 3 | 1).to_bytes(3, "little") + data)
    with pytest.raises(sled.Corruption, match=r"the file metadata/snapshot_\w+ is not what sled wrote"):
        v1.Db(folder)
