"""Databases of sled 1.0, for moving whole trees between the formats.

sled 1.0 is not released; this is its newest pre-release. To work with a database, copy it into one of 0.34.
"""

from collections.abc import Iterable, Iterator
from os import PathLike
from types import TracebackType
from typing import Self

from sled_sessions.sled import _native
from sled_sessions.sled.errors import SledError

_CHUNK = 1024
_CHUNK_BYTES = 1 << 20


class Db:
    """A database of sled 1.0, with the methods that copying needs.

    In a child that is forked while it is open, all descriptors of the folder are closed, including the program's own.

    Args:
        path: The folder; created if it is missing.

    Raises:
        DatabaseLocked: The folder is open in another process or in this one.
        Unsupported: The folder is a database of sled 0.34, where sled 1.0 would make an empty one.
        Corruption: The files are damaged. Not all damage is found: if the newest log was cut short, which looks like a
            kill, its data is lost.
        SledIOError: The file system refused.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self._native = _native.open_v1(path)

    def tree_names(self) -> list[bytes]:
        """The names of all trees, sorted; the default tree has its name of 0.34, ``b"__sled__default"``."""
        return self._native.tree_names()

    def export(self) -> Iterator[tuple[bytes, bytes, Iterator[tuple[bytes, bytes]]]]:
        """Yield ``(b"tree", name, pairs)`` for each tree, like `sled.Db.export`. Needs little memory."""
        for name in self.tree_names():
            yield b"tree", name, self._pairs(name)

    def import_(self, export: Iterable[tuple[bytes, bytes, Iterable[tuple[bytes, bytes]]]]) -> None:
        """Insert what an `export` returned. Needs little memory, and overwrites nothing.

        Raises:
            SledError: A key exists already, or this is not an `export`.
        """
        for kind, name, pairs in export:
            if kind != b"tree":
                raise SledError("only collections of type b'tree' can be imported")
            self._native.insert_new(name, [])  # creates the tree even if it is empty
            for chunk in _chunks(pairs):
                self._native.insert_new(name, chunk)

    def close(self) -> None:
        """Write everything to the disk and release the folder.

        Raises:
            SledError: A call that Ctrl-C has ended is still running in sled; the folder is released when it ends.
        """
        self._native.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.close()
        except SledError as failure:
            if error is None:
                raise
            error.add_note(str(failure))  # do not replace a KeyboardInterrupt

    def _pairs(self, name: bytes) -> Iterator[tuple[bytes, bytes]]:
        last: bytes | None = None
        while chunk := self._native.read(name, last, _CHUNK):
            yield from chunk
            last = chunk[-1][0]


def _chunks(pairs: Iterable[tuple[bytes, bytes]]) -> Iterator[list[tuple[bytes, bytes]]]:
    """Split the pairs into lists of limited length and size."""
    chunk, size = list[tuple[bytes, bytes]](), 0
    for key, value in pairs:
        chunk.append((key, value))
        size += len(key) + len(value)
        if len(chunk) == _CHUNK or size > _CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
