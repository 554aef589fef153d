"""The database that is measured."""

from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Self

import attrs

from benchmarks import floors
from benchmarks.workload import Workload
from sled_sessions import SledStore, SweepStrategy, sled
from sled_sessions.stores.sled.index import ENTRIES
from sled_sessions.stores.sweep import Progress

_TREE = b"session"


@attrs.define
class Database:
    """An open database with the workload's sessions and their index.

    Attributes:
        workload: The sessions.
        store: The store on the database.
    """

    workload: Workload
    store: SledStore

    @classmethod
    def open(cls, folder: Path, workload: Workload) -> Self:
        """Open the database that `make` created in this folder."""
        return cls(workload, SledStore.open(folder, _TREE))

    @property
    def tree(self) -> sled.Tree:
        """The tree of the records."""
        return self.store.tree

    @property
    def index(self) -> sled.Tree:
        """The tree of the index entries."""
        return self.tree.db.open_tree(self.tree.name + ENTRIES)

    def put_back(self, numbers: Iterable[int]) -> None:
        """Insert deleted sessions again, as `make` stored them."""
        tree, index = self.tree, self.index
        for number in numbers:
            record = self.workload.record(number)
            index.insert(floors.entry(record), b"")
            floors.save(tree, [floors.parts(record)])

    def read_all(self) -> None:
        """Read every page once: after opening, sled reads a page from the file when it is first used."""
        for tree in (self.tree, self.index):
            deque(tree, maxlen=0)

    def drop_index(self) -> None:
        """Delete the index and keep the records."""
        SledStore(self.tree, strategy=SweepStrategy.FULL_SCAN)

    def build_index(self) -> None:
        """Let the store build the index."""
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
    """Create a database: the records by bare inserts in the random order of their ids, then the index."""
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
    """Bytes of disk that the files below a folder occupy."""
    files = (file.stat() for file in folder.rglob("*") if file.is_file())
    return sum(getattr(file, "st_blocks", -(-file.st_size // 512)) * 512 for file in files)
