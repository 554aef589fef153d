"""Reading a damaged database without sled, page by page."""

from collections.abc import Iterator
from os import PathLike

from sled_sessions.sled import _native


class Pages:
    """Iterate over the readable pages of a sled 0.34 folder, each a tree's name and pairs.

    Pages whose tree is unknown come last, with None for the name. Of some of these only the newest writes can be read,
    under keys that lack their beginning. Writes nothing, and does not take the folder's lock.

    Args:
        path: The folder.

    Raises:
        SledIOError: The file ``db`` cannot be read.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self._native = _native.Salvage(path)

    @property
    def lost(self) -> int:
        """The number of pages, and places in the log, that could not be read so far."""
        return self._native.lost

    def __iter__(self) -> Iterator[tuple[bytes | None, list[tuple[bytes, bytes]]]]:
        while (page := self._native.page()) is not None:
            yield page
