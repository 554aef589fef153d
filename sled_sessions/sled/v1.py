"""The folders of sled 1.0: whole trees out of them and into them, for moving between the formats.

sled 1.0 is not released; this is the newest of its pre-releases. To use a database, migrate it to 0.34.
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
    """A database of sled 1.0. It has the trees of `sled.Db.export` and `import_`, and nothing else of it.

    A child that is forked while it is open finds every descriptor of the folder closed, the program's own included.

    Args:
        path: The folder; made when it is not there.

    Raises:
        DatabaseLocked: It is open, in another process or in this one.
        Unsupported: It is a folder of sled 0.34, in which sled 1.0 would make an empty database.
        Corruption: The files are damaged. Not every damage is found: a newest log that was cut short looks as after a
            kill, and costs what it had.
        SledIOError: The file system refused.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self._native = _native.open_v1(path)

    def tree_names(self) -> list[bytes]:
        """The names of all trees, sorted; the default tree's is 0.34's name for it, ``b"__sled__default"``."""
        return self._native.tree_names()

    def export(self) -> Iterator[tuple[bytes, bytes, Iterator[tuple[bytes, bytes]]]]:
        """Yield ``(b"tree", name, pairs)`` for each tree, as `sled.Db.export` gives them. Memory stays small."""
        for name in self.tree_names():
            yield b"tree", name, self._pairs(name)

    def import_(self, export: Iterable[tuple[bytes, bytes, Iterable[tuple[bytes, bytes]]]]) -> None:
        """Insert what an `export` gave. Memory stays small, and nothing is overwritten.

        Raises:
            SledError: A key is there already, or this is not what `export` gives.
        """
        for kind, name, pairs in export:
            if kind != b"tree":
                raise SledError("only collections of type b'tree' can be imported")
            self._native.insert_new(name, [])  # so that an empty tree arrives, too
            for chunk in _chunks(pairs):
                self._native.insert_new(name, chunk)

    def close(self) -> None:
        """Write everything to the disk and free the folder.

        Raises:
            SledError: A call that Ctrl-C has ended still runs in sled; the folder gets free when it ends.
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
            error.add_note(str(failure))  # a Ctrl-C stays one

    def _pairs(self, name: bytes) -> Iterator[tuple[bytes, bytes]]:
        last: bytes | None = None
        while chunk := self._native.read(name, last, _CHUNK):
            yield from chunk
            last = chunk[-1][0]


def _chunks(pairs: Iterable[tuple[bytes, bytes]]) -> Iterator[list[tuple[bytes, bytes]]]:
    """The pairs in lists that are neither long nor large."""
    chunk, size = list[tuple[bytes, bytes]](), 0
    for key, value in pairs:
        chunk.append((key, value))
        size += len(key) + len(value)
        if len(chunk) == _CHUNK or size > _CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
