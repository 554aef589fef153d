"""What can still be read of a damaged database, without sled: page by page, tree by tree."""

from collections.abc import Iterator
from os import PathLike

from sled_sessions.sled import _native


class Pages:
    """Iterate the pages of a database folder of sled 0.34: each a tree's name and pairs.

    The name is None for a page that no tree leads to; of some of these only the newest writes can be read, under keys
    that lack their beginning. Pages of trees come first. Nothing is written, not even the folder's lock is taken.

    Args:
        path: The folder.

    Raises:
        SledIOError: Its file ``db`` cannot be read.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self._native = _native.Salvage(path)

    @property
    def lost(self) -> int:
        """How many places in the log, and pages, could not be read so far."""
        return self._native.lost

    def __iter__(self) -> Iterator[tuple[bytes | None, list[tuple[bytes, bytes]]]]:
        while (page := self._native.page()) is not None:
            yield page
