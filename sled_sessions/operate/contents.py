"""The contents of a database, counted and hashed, so that a copy can be compared with it."""

import hashlib
from collections.abc import Iterable, Iterator
from typing import TypeAlias

import attrs

from sled_sessions.operate.errors import ContentsDiffer
from sled_sessions.stores.sweep import PROGRESS_STEP, Progress

Trees: TypeAlias = Iterable[tuple[bytes, bytes, Iterable[tuple[bytes, bytes]]]]
"""A database as `sled.Db.export` gives it and `import_` takes it: the word "tree", a name, and the pairs in order."""


@attrs.frozen
class Contents:
    """The number of trees and of pairs in a database or a backup, and the bytes of all keys and values.

    The checksum is the BLAKE2b of the names, keys and values in order, in hexadecimal.
    """

    trees: int
    pairs: int
    size: int
    checksum: str

    def require(self, read_back: "Contents", what: str) -> "Contents":
        """Return this; ContentsDiffer if `read_back`, the contents of a copy, are not the same."""
        if read_back != self:
            raise ContentsDiffer(
                f"{what} differs from what was written: {read_back.pairs:,} keys in {read_back.trees} trees with "
                f"checksum {read_back.checksum}, but {self.pairs:,} in {self.trees} with {self.checksum} were written"
            )
        return self


class Reading:
    """Passes trees on, and counts and hashes them on the way; `total` is for `progress`."""

    def __init__(self, trees: Trees, progress: Progress | None = None, total: int | None = None) -> None:
        self._source = trees
        self._progress = progress
        self._total = total
        self._hash = hashlib.blake2b(digest_size=16)
        self._trees = 0
        self._pairs = 0
        self._size = 0

    def __iter__(self) -> Iterator[tuple[bytes, bytes, Iterator[tuple[bytes, bytes]]]]:
        for kind, name, pairs in self._source:
            self._trees += 1
            self._hash.update(b"tree %d " % len(name) + name)
            yield kind, name, self._counted(pairs)
        if self._progress is not None:
            self._progress(self._pairs, self._pairs)

    def _counted(self, pairs: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
        update, step = self._hash.update, PROGRESS_STEP
        for key, value in pairs:
            update(b"%d %d " % (len(key), len(value)) + key + value)
            self._pairs += 1
            self._size += len(key) + len(value)
            if self._progress is not None and self._pairs % step == 0:
                self._progress(self._pairs, self._total)
            yield key, value

    def contents(self) -> Contents:
        """The contents of what was passed on so far."""
        return Contents(trees=self._trees, pairs=self._pairs, size=self._size, checksum=self._hash.hexdigest())


def contents_of(trees: Trees, progress: Progress | None = None, total: int | None = None) -> Contents:
    """Read everything and return what it contains. O(n) time, O(1) memory."""
    reading = Reading(trees, progress, total)
    for _, _, pairs in reading:
        for _ in pairs:
            pass
    return reading.contents()
