import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Generic, Self, TypeAlias, TypeVar, final

from typing_extensions import Buffer, disjoint_base

__all__ = [
    "V1",
    "Batch",
    "Db",
    "Event",
    "Iter",
    "Salvage",
    "Subscriber",
    "TransactionTree",
    "Tree",
    "after_fork_in_child",
    "close_all",
    "open",
    "open_v1",
    "transaction",
]

_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)
_Path: TypeAlias = str | os.PathLike[str]
_Pair: TypeAlias = tuple[bytes, bytes]
_Export: TypeAlias = tuple[bytes, bytes, Iterator[_Pair]]
_Import: TypeAlias = tuple[Buffer, str | Buffer, Iterable[tuple[Buffer, Buffer]]]

def open(  # noqa: A001 - the name that sled has
    path: _Path | None = None,
    *,
    cache_capacity: int = 1073741824,
    flush_every_ms: int | None = 500,
    create_new: bool = False,
    temporary: bool = False,
    segment_size: int | None = None,
) -> Db:
    """Open the database in the folder ``path``, making both if they are missing.

    One process at a time can have a folder open, and once. The database closes with ``close()``, at the end of a
    ``with`` block, when nothing refers to it any more, and when the interpreter exits; in the last two cases an error
    of the last write is printed.

    Args:
        path: The folder. May be missing only if ``temporary``.
        cache_capacity: Bytes of memory for the page cache, at least 256; a soft limit.
        flush_every_ms: How often a thread writes what is new to the file ``db``, and fsyncs it; a killed process loses
            about this much time. The files of large pages (see ``segment_size``) it leaves to the kernel: if anything
            was written after the last ``flush(fsync=True)``, a power cut may leave a damaged database (``Corruption``;
            see ``sled_sessions.sled.salvage``). None: only ``flush()`` and ``close()`` write, and whenever a buffer of
            ``segment_size`` is full.
        create_new: Fail with ``SledIOError`` (``errno.EEXIST``) if there is a database already.
        temporary: Delete the folder on close; it must be new or empty. Without ``path``, sled picks one in memory
            (``/dev/shm``) on Linux.
        segment_size: Bytes in a segment of the log, a power of two from 256 to 2**24. A page above a quarter of it
            becomes a file of its own that goes late, if ever; a page has up to 17 pairs, so that begins with values
            of 1/64 of it (8 KB). Fixed when the database is made (512 KiB); None takes what the database has.

    Raises:
        DatabaseLocked: The folder is open, in another process or in this one.
        Unsupported: Another format: sled 1.0, a sled before 0.34, sled's compression, or another ``segment_size``.
        Corruption, ReportableBug: The files are damaged.
        SledIOError: The path is a file, or the file system refused.
        ForkedProcess: This process was forked from one that had opened a database.
        SledError: An option outside its range.
    """

def transaction(function: Callable[..., _T], *trees: Tree) -> _T:
    """Call ``function`` with a ``TransactionTree`` for each of ``trees``; write all that it wrote, or nothing.

    The trees belong to one database. Nobody sees the writes before ``function`` returns, and nobody else reads or
    writes meanwhile: sled holds one lock for all databases of the process. So keep it short, and never wait in it for
    another thread that uses sled. Ctrl-C does not reach those that wait for it.

    An exception in ``function`` aborts the transaction and comes through unchanged.

    Returns:
        What ``function`` returned.

    Raises:
        SledError: No tree was given; or, inside ``function``, a call of anything but the trees it was given.
        Unsupported: The trees belong to different databases.
        ForkedProcess: ``function`` forked, and this is the child, in which nothing is written.
    """

def close_all() -> None:
    """Close every database that is still open; the package registers it with ``atexit``.

    One that a transaction's function in another thread holds up for seconds is left as a kill would leave it. That is
    printed, as are errors.
    """

def after_fork_in_child() -> list[Path]:
    """Make every later call raise ``ForkedProcess``; return the files that the parent has locked."""

@disjoint_base
class Tree:
    """An ordered map from bytes to bytes; ``Db.open_tree`` returns one.

    Every method may be called from any thread, and each call is atomic unless it says otherwise. Keys and values are
    ``bytes``; any other buffer is accepted and copied. Besides what a method lists, each raises ``ClosedError`` after
    the database was closed, ``ForkedProcess`` in a forked child, ``CollectionNotFound`` when the tree was dropped,
    ``SledError`` inside a transaction's function, and ``SledIOError``, ``Corruption`` or ``ReportableBug`` when the
    storage fails.

    Iterating a tree yields ``(key, value)`` pairs in the order of the keys. ``tree[key]``, ``tree[key] = value`` and
    ``del tree[key]`` do as in a dict, ``KeyError`` included. A tree is true when it is not empty. ``dict(iter(tree))``
    and ``list(iter(tree))`` read it once, and what others write meanwhile may or may not be in them; ``dict(tree)`` and
    ``list(tree)`` ask it for more than that.

    Going backwards takes a search where going forwards does not: ``last``, ``get_lt`` and ``pop_max`` some tens or
    hundreds of microseconds, where ``first`` and ``get_gt`` take one or two. Iterating backwards takes about as long as
    forwards, and some times that where keys are long or of very different kinds.
    """

    _repr_html_: ClassVar[Callable[[Tree], str]]

    @property
    def name(self) -> bytes:
        """The tree's name."""

    @property
    def db(self) -> Db:
        """The database that it belongs to: always the same object."""

    def get(self, key: Buffer) -> bytes | None:
        """Return the value of ``key``, or None."""

    def contains(self, key: Buffer) -> bool:
        """Is ``key`` in the tree? ``key in tree`` is the same."""

    def __contains__(self, key: Buffer, /) -> bool: ...
    def __getitem__(self, key: Buffer, /) -> bytes: ...
    def __setitem__(self, key: Buffer, value: Buffer, /) -> None: ...
    def __delitem__(self, key: Buffer, /) -> None: ...
    def insert(self, key: Buffer, value: Buffer) -> bytes | None:
        """Set ``key`` to ``value``; return the value before, or None."""

    def remove(self, key: Buffer) -> bytes | None:
        """Remove ``key``; return the value that it had, or None."""

    def compare_and_swap(self, key: Buffer, old: Buffer | None, new: Buffer | None) -> bool:
        """Set ``key`` to ``new`` if its value is ``old``. None stands for an absent key.

        Returns:
            True if the swap was made. False if another value was there; nothing has changed then.
        """

    def update_and_fetch(self, key: Buffer, function: Callable[[bytes | None], Buffer | None]) -> bytes | None:
        """Replace the value of ``key`` by ``function(value)``; None stands for an absent key, before and after.

        ``function`` is called again when somebody else wrote in between, so it must not have side effects. It may use
        the database. An exception leaves the value as it is and comes through unchanged.

        Returns:
            The value after.
        """

    def fetch_and_update(self, key: Buffer, function: Callable[[bytes | None], Buffer | None]) -> bytes | None:
        """Like ``update_and_fetch``, but return the value before."""

    def apply_batch(self, batch: Batch) -> None:
        """Apply the writes of ``batch`` together: a reader, or a crash, sees all of them or none."""

    def first(self) -> _Pair | None:
        """Return the pair with the smallest key, or None."""

    def last(self) -> _Pair | None:
        """Return the pair with the greatest key, or None."""

    def get_lt(self, key: Buffer) -> _Pair | None:
        """Return the pair with the greatest key below ``key``, or None."""

    def get_gt(self, key: Buffer) -> _Pair | None:
        """Return the pair with the smallest key above ``key``, or None."""

    def pop_min(self) -> _Pair | None:
        """Remove and return the pair with the smallest key, or None. No two callers get the same pair."""

    def pop_max(self) -> _Pair | None:
        """Remove and return the pair with the greatest key, or None. No two callers get the same pair."""

    def range(self, start: Buffer | None = None, stop: Buffer | None = None, *, reverse: bool = False) -> Iter[_Pair]:
        """Iterate the pairs with ``start <= key < stop``, in the order of the keys or against it."""

    def prefix(self, prefix: Buffer, *, reverse: bool = False) -> Iter[_Pair]:
        """Iterate the pairs whose key starts with ``prefix``."""

    def keys(self, start: Buffer | None = None, stop: Buffer | None = None, *, reverse: bool = False) -> Iter[bytes]:
        """Iterate the keys only."""

    def values(self, start: Buffer | None = None, stop: Buffer | None = None, *, reverse: bool = False) -> Iter[bytes]:
        """Iterate the values only, in the order of their keys."""

    def __iter__(self) -> Iter[_Pair]: ...
    def __reversed__(self) -> Iter[_Pair]: ...
    def __len__(self) -> int:
        """Count the pairs. O(n), and not atomic: sled keeps no count, so each is read."""

    def __bool__(self) -> bool: ...
    def is_empty(self) -> bool:
        """Is there no pair? O(log n)."""

    def clear(self) -> None:
        """Remove every pair, one by one: O(n), and not atomic."""

    def checksum(self) -> int:
        """CRC-32 of all keys and values. O(n), and everybody else waits meanwhile."""

    def flush(self, fsync: bool = False) -> int:
        """Write everything that is new, in all trees, to the database's file; return how many bytes that were.

        Args:
            fsync: Also wait until the disk has it, large values included. Without, it survives a crash of the process,
                not of the machine.
        """

    def watch(self, prefix: Buffer | None = None, *, capacity: int = 65536) -> Subscriber:
        """Return the changes, from now on, of the keys that start with ``prefix`` (None: of all keys).

        Of those that were made in the moment before some may come, too.

        An ``insert`` of the value that is there already, or a ``remove`` of a missing key, is no change; a
        ``compare_and_swap`` or an update to the same value is one. Writers never wait for a slow reader: when
        ``capacity`` events are waiting the oldest are dropped, and the reader gets ``EventsLost`` once. A tree that has
        ever been watched has a thread, and pays some microseconds more for each write, until the database is closed.
        """

@final
class Db(Tree):
    """A database, and the tree that it has by default: everything that a ``Tree`` does, and more."""

    @property
    def path(self) -> Path:
        """The folder, absolute and without symbolic links."""

    @property
    def was_recovered(self) -> bool:
        """Did the database exist before it was opened?"""

    def open_tree(self, name: str | Buffer) -> Tree:
        """Return the tree of that name, making it if it is missing. Text stands for its UTF-8 bytes."""

    def tree_names(self) -> list[bytes]:
        """The names of all trees, sorted; the default tree's is ``b"__sled__default"``."""

    def drop_tree(self, name: str | Buffer) -> bool:
        """Remove a tree and all that it holds; handles of it raise ``CollectionNotFound`` from now on.

        O(n). Calls and transactions that are at work on it end first.

        Returns:
            False if there was no such tree.

        Raises:
            Unsupported: It is the default tree.
        """

    def size_on_disk(self) -> int:
        """Bytes that the database's files take."""

    def generate_id(self) -> int:
        """Return an integer greater than any before, also across restarts; they are not contiguous."""

    def checksum(self) -> int:
        """CRC-32 of all trees' names, keys and values. O(n), and everybody else waits meanwhile."""

    def export(self) -> list[_Export]:
        """Return ``(b"tree", name, pairs)`` for each tree; ``pairs`` reads on while it is iterated.

        The form is the one of sled's own ``Db::export``, made for moving to another version of sled. Memory stays
        small however large the trees are: ``other.import_(db.export())``.
        """

    def import_(self, export: Iterable[_Import]) -> None:
        """Insert what ``export()`` gave, here or in another version. It streams, and nothing is overwritten.

        Raises:
            SledError: A key is there already; what came before it has been inserted.
        """

    def close(self) -> None:
        """Write and fsync everything, and free the folder at once, whoever still holds trees or iterators.

        Calls that are running in other threads end first; what comes later raises ``ClosedError``. Closing again does
        nothing. If the last write fails, its error is raised and the database is closed all the same.
        """

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

@final
class Batch:
    """Writes for ``Tree.apply_batch``; of two that touch the same key, the later one counts."""

    def __new__(cls) -> Self: ...
    def insert(self, key: Buffer, value: Buffer) -> None:
        """Set ``key`` to ``value``."""

    def remove(self, key: Buffer) -> None:
        """Remove ``key``."""

@final
class Iter(Generic[_T_co]):
    """An iterator over a tree that reads ahead in chunks of growing size.

    What is written while it runs may or may not be seen, and each pair is seen at most once. After an error it ends.
    Several threads may share it; each pair goes to one of them.
    """

    def __iter__(self) -> Self: ...
    def __next__(self) -> _T_co: ...

@final
class TransactionTree:
    """A tree as a transaction's function sees it: with the transaction's own writes, and nobody else's."""

    def get(self, key: Buffer) -> bytes | None:
        """Return the value of ``key``, or None."""

    def insert(self, key: Buffer, value: Buffer) -> bytes | None:
        """Set ``key`` to ``value``; return the value before, or None."""

    def remove(self, key: Buffer) -> bytes | None:
        """Remove ``key``; return the value that it had, or None."""

    def apply_batch(self, batch: Batch) -> None:
        """Apply the writes of ``batch``."""

    def generate_id(self) -> int:
        """Like ``Db.generate_id``; not undone when the transaction aborts."""

    def flush(self) -> None:
        """Let the transaction flush (without fsync) after it has been written."""

@final
class Event:
    """A change of a key. Two with the same key and value are equal; the repr shows sizes only."""

    @property
    def key(self) -> bytes:
        """The key."""

    @property
    def value(self) -> bytes | None:
        """The new value; None if the key was removed."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Subscriber:
    """The changes of a tree, waited for by iterating; that ends when the watcher or its database is closed.

    It ends when the tree is dropped as well. What came before can still be read. Ctrl-C interrupts a wait.
    """

    def get(self, timeout: float | None = None) -> Event | None:
        """Wait for the next change, at most ``timeout`` seconds (None: for ever); None if there was none.

        Raises:
            ClosedError: The watcher or the database is closed, and every event has been read.
            EventsLost: Events were dropped since the last call; the next call goes on with those that are left.
        """

    def close(self) -> None:
        """Stop watching. Whoever waits for an event is woken."""

    def __iter__(self) -> Self: ...
    def __next__(self) -> Event: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

@final
class V1:
    """A database of sled 1.0; see ``sled_sessions.sled.v1``."""

    def tree_names(self) -> list[bytes]:
        """The names of all trees, sorted; the default tree is called as in 0.34."""

    def read(self, tree: str | Buffer, after: Buffer | None, limit: int) -> list[_Pair]:
        """Return the first pairs, ``limit`` at most, with keys above ``after``."""

    def insert_new(self, tree: str | Buffer, pairs: list[_Pair]) -> None:
        """Insert pairs into a tree, made if missing.

        Raises:
            SledError: A key is there already.
        """

    def close(self) -> None:
        """Write everything to the disk and free the folder."""

def open_v1(path: _Path) -> V1:
    """Open a database of sled 1.0, made if missing."""

@final
class Salvage:
    """The pages of a damaged database; see ``sled_sessions.sled.salvage``."""

    def __new__(cls, path: _Path) -> Self: ...
    def page(self) -> tuple[bytes | None, list[_Pair]] | None:
        """Return the next page's tree and pairs; None at the end."""

    @property
    def lost(self) -> int:
        """How many places could not be read so far."""
