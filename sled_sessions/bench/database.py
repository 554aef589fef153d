"""The database that is measured: made fast, kept if wanted, opened as its users would."""

from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Self

import attrs

from sled_sessions import SledStore, SweepStrategy, sled
from sled_sessions.bench import floors
from sled_sessions.bench.workload import Workload
from sled_sessions.stores.sled.index import ENTRIES
from sled_sessions.stores.sweep import Progress

_TREE = b"session"


@attrs.define
class Database:
    """An open database with the workload's sessions and their index.

    Attributes:
        workload: What is in it.
        store: The store on it.
    """

    workload: Workload
    store: SledStore

    @classmethod
    def open(cls, folder: Path, workload: Workload) -> Self:
        """Open the one that `make` left in this folder."""
        return cls(workload, SledStore.open(folder, _TREE))

    @property
    def tree(self) -> sled.Tree:
        """The bare tree of the records."""
        return self.store.tree

    @property
    def index(self) -> sled.Tree:
        """The bare tree of the index entries."""
        return self.tree.db.open_tree(self.tree.name + ENTRIES)

    def put_back(self, numbers: Iterable[int]) -> None:
        """Insert sessions that are gone, as they were made."""
        tree, index = self.tree, self.index
        for number in numbers:
            record = self.workload.record(number)
            index.insert(floors.entry(record), b"")
            floors.save(tree, [floors.parts(record)])

    def read_all(self) -> None:
        """Have everything in sled's cache, as it is after a while: pages are read from the file when first used."""
        for tree in (self.tree, self.index):
            deque(tree, maxlen=0)

    def drop_index(self) -> None:
        """Leave the records alone."""
        SledStore(self.tree, strategy=SweepStrategy.FULL_SCAN)

    def build_index(self) -> None:
        """Let the store build the index anew."""
        SledStore(self.tree)

    def close(self) -> None:
        """Close the database."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@attrs.frozen
class Sizes:
    """Bytes on disk, of the records alone and with the index."""

    records: int
    with_index: int


def make(folder: Path, workload: Workload, progress: Progress | None = None) -> Sizes:
    """Fill a new folder, the records by bare inserts and in an order as random as visitors', then the index."""
    with sled.open(folder) as db:
        tree = db.open_tree(_TREE)
        for numbers in workload.batches():
            floors.save(tree, [floors.parts(workload.record(number)) for number in numbers])
            if progress is not None:
                progress(numbers.stop, workload.sessions)
    records = size(folder)
    with Database.open(folder, workload):
        pass
    return Sizes(records, size(folder))


def size(folder: Path) -> int:
    """Bytes that the files of a folder and of its folders take on the disk."""
    files = (file.stat() for file in folder.rglob("*") if file.is_file())
    return sum(getattr(file, "st_blocks", -(-file.st_size // 512)) * 512 for file in files)
