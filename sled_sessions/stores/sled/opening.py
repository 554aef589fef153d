"""Opening and closing the database of a `SledStore`.

A store of `SledStore.at` opens it on first use:

| the store is | plain use | entering, `with store:` |
|---|---|---|
| new | opens it | opens it, and counts the block |
| open | | counts the block; the last one to end closes the store |
| closed | raises ClosedError, so that a late task does not lock the folder again | opens it, and counts the block |
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, Self, TypedDict

from sled_sessions import sled
from sled_sessions.errors import BackendError
from sled_sessions.stores.clock import Clock
from sled_sessions.stores.locks import KeyLocks
from sled_sessions.stores.sled.durability import Durability
from sled_sessions.stores.sweep import Progress, SweepStrategy

FLUSH_EVERY_MS = 100
"""How often sled writes its buffers to the file and frees old space in it. With sled's default, 500, the file of a busy
store takes up to three times the space and saves are no faster (measured in `tests/benchmarks/README.md`)."""


class SledStoreOptions(TypedDict, total=False):
    """The keyword arguments of `SledStore`, which describes them."""

    strategy: SweepStrategy
    resolution: timedelta
    durability: Durability
    max_record_bytes: int
    clock: Clock
    progress: Progress | None


class Folder(NamedTuple):
    """Where a store of `SledStore.at` is: the folder of a database, and the name of a tree in it."""

    path: Path
    tree: str | bytes


def folder_at(path: str | PathLike[str], tree: str | bytes) -> Folder:
    """A folder as the path leads to it now; ValueError if the path is empty."""
    if path == "":
        raise ValueError("the path is empty; use '.' for the working directory")
    return Folder(Path(path).absolute(), tree)


class StoreClosed(BackendError, sled.ClosedError):
    """The store is used after it was closed."""


class Openable:
    """The part of `SledStore` that opens and closes its database.

    Args:
        folder: Where the database is that this store opens; None for a store that is given its tree, by `_use`.
    """

    def __init__(self, folder: Folder | None) -> None:
        self._folder = folder
        self._db: sled.Db | None = None  # the database that `close` closes
        self._is_closed = False
        self._entered = 0
        if folder is not None:
            self._forget()

    def _use(self, tree: sled.Tree) -> None:
        """Work on this tree from now on."""
        raise NotImplementedError

    def _forget(self) -> None:
        """Put an `Unopened` in the place of whatever belongs to a database."""
        raise NotImplementedError

    @property
    def is_new(self) -> bool:
        """Whether this is a store of `at` that has not been opened yet."""
        return self._folder is not None and self._db is None and not self._is_closed

    @property
    def is_open(self) -> bool:
        """Whether the database is open. Asking does not open it."""
        db = self._db if self._folder is not None or self._db is not None else self.tree.db
        return db in sled.open_databases()

    @property
    def tree(self) -> sled.Tree:
        """The tree of the records. Asking opens a store that is new."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the database if `at` or `open` made this store; a tree passed to the constructor stays open."""
        with backend_errors():
            if self._folder is not None:
                _opening.hold(self, self._close)
            elif self._db is not None:
                self._db.close()

    def __enter__(self) -> Self:
        if self._folder is not None:
            _opening.hold(self, self._enter)
        return self

    def __exit__(self, *_: object) -> None:
        with backend_errors():
            if self._folder is not None:
                _opening.hold(self, self._leave)
            else:
                self.close()

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Open the store if it is new; if it is closed, enter it for the block. A running `Sweeper` is such a block."""
        if self._folder is None or self.is_new or self.is_open:
            self._opened()
            yield
        else:
            with self:
                yield

    def _opened(self) -> Self:
        """This store, which is opened if it is new.

        Raises:
            ClosedError: It is closed.
            WouldDeadlock: The call before this one on the same thread is opening or closing it.
        """
        if self._folder is not None:
            self._refuse_if_closed()  # without the lock, which `close` holds while it waits for the end of other calls
            _opening.hold(self, self._open_if_new)
        return self

    def _open_if_new(self) -> None:
        self._refuse_if_closed()
        if self.is_new:
            self._open()

    def _refuse_if_closed(self) -> None:
        if self._is_closed and self._folder is not None:
            path = self._folder.path
            raise sled.ClosedError(f"the store on {path} has been closed; entering it, `with store:`, opens it again")

    def _enter(self) -> None:
        if not self.is_open:
            self._open()
        self._entered += 1

    def _leave(self) -> None:
        self._entered -= 1
        if self._entered == 0:
            self._close()

    def _open(self) -> None:
        if (folder := self._folder) is None:
            return
        try:
            with opening(folder.path) as db:
                self._use(db.open_tree(folder.tree))
                self._db, self._is_closed = db, False
        except BaseException:  # Ctrl-C, too, at whichever line
            self._db = None
            self._forget()
            raise

    def _close(self) -> None:
        db, self._db, self._is_closed = self._db, None, True
        self._forget()
        if db is not None:
            db.close()


class Unopened:
    """Stands for an object that only an open store has. Using it opens the store, or raises ClosedError.

    Args:
        find: Opens the store and returns the object.
    """

    def __init__(self, find: Callable[[], Any]) -> None:
        self._find = find

    def __getattr__(self, name: str) -> Any:
        return getattr(self._find(), name)


@contextmanager
def opening(path: str | PathLike[str]) -> Iterator[sled.Db]:
    """Open a database for a store, and close it again if the block raises."""
    db = sled.open(path, flush_every_ms=FLUSH_EVERY_MS)
    try:
        yield db
    except BaseException:
        db.close()
        raise


@contextmanager
def backend_errors() -> Iterator[None]:
    """Raise the engine's errors as `BackendError`."""
    try:
        yield
    except sled.SledError as error:
        raise backend_error(error) from error


def backend_error(error: sled.SledError) -> BackendError:
    """The store's error for an error of the engine."""
    return StoreClosed(str(error)) if isinstance(error, sled.ClosedError) else BackendError(str(error))


_opening = KeyLocks()
