import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Generic, Self, TypeAlias, TypeVar, final

from typing_extensions import Buffer, disjoint_base

from sled_sessions.sled.errors import SledIOError

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
    "in_transaction",
    "is_json",
    "open",
    "open_databases",
    "open_v1",
    "transaction",
]

_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)
_Path: TypeAlias = str | os.PathLike[str]
_Pair: TypeAlias = tuple[bytes, bytes]
_Export: TypeAlias = tuple[bytes, bytes, Iterator[_Pair]]
_Import: TypeAlias = tuple[Buffer, str | Buffer, Iterable[tuple[Buffer, Buffer]]]

def open(  # noqa: A001 - sled's name
    path: _Path | None = None,
    *,
    cache_capacity: int = 1073741824,
    flush_every_ms: int | None = 500,
    create_new: bool = False,
    temporary: bool = False,
    segment_size: int | None = None,
    mode: int = 0o600,
) -> Db:
    """Open the database in the folder ``path``, creating both if they are missing.

    A folder can be open in one process at a time, and only once. The database closes with ``close()``, at the end of a
    ``with`` block, when it is garbage-collected, and when the interpreter exits. In the last two cases, an error of
    the last write is printed.

    The folder may be a symbolic link, but not the files in it. Ctrl-C interrupts a long open; the folder is released
    when sled has read it.

    Args:
        path: The folder. Required unless ``temporary``.
        cache_capacity: Bytes of memory for the page cache, at least 256. A target, not a hard limit.
        flush_every_ms: How often a thread writes new data to the file ``db`` and fsyncs it; a killed process loses
            about this much. The thread does not fsync the files of large pages (see ``segment_size``): a power cut may
            damage a database that was written to after the last ``flush(fsync=True)`` (``Corruption``; see
            ``sled_sessions.sled.salvage``). None: only ``flush()``, ``close()`` and a full buffer of ``segment_size``
            write.
        create_new: Raise ``SledIOError`` (``errno.EEXIST``) if there already is a database.
        temporary: Delete the folder on close; it must be new or empty. Without ``path``, sled picks one in memory
            (``/dev/shm``) on Linux.
        segment_size: Bytes in a segment of the log, a power of two from 256 to 2**24. A page above a quarter of it
            becomes a separate file, which sled may never delete. A page has up to 17 pairs, so this begins with values
            of 1/64 of the size (8 KB). Fixed when the database is created (default: 512 KiB); None uses its size.
        mode: Permissions of the files that are created, whatever the umask; not sled's option of this name. Folders
            get the same and may be entered by who may read. A database that exists keeps its permissions, and new files
            in it get those of its file ``db``.

    Raises:
        DatabaseLocked: The folder is open in another process or in this one.
        Unsupported: The format is sled 1.0's or older than 0.34, sled's compression was on, or the database has another
            ``segment_size``.
        Corruption, ReportableBug: The files are damaged.
        SledIOError: The path is a file, a symbolic link, a FIFO or a device is among the database's files, or the file
            system refused.
        ForkedProcess: This process was forked from one that had opened a database.
        SledError: An option is out of range.
    """

def open_databases() -> list[Db]:
    """Return the databases that this process has open, in the order of opening.

    A database stays open as long as anything refers to it or to one of its trees, such as an output or a traceback of
    a notebook. ``for db in sled.open_databases(): db.close()`` closes it even if no variable has it.
    """

def transaction(function: Callable[..., _T], *trees: Tree) -> _T:
    """Call ``function`` with a ``TransactionTree`` for each of ``trees``; apply all of its writes, or none.

    The trees must belong to one database. Until ``function`` returns, no other call reads or writes in any database of
    the process, because sled holds a global lock. So keep it short, and never wait in it for another thread that uses
    sled. Ctrl-C does not interrupt threads that wait for the lock.

    An exception in ``function`` aborts the transaction and is passed on unchanged.

    Returns:
        What ``function`` returned.

    Raises:
        SledError: No tree was given; or ``function`` used anything but its own trees.
        Unsupported: The trees belong to different databases.
        ForkedProcess: ``function`` forked, and this is the child, which writes nothing.
    """

def in_transaction() -> bool:
    """Whether this thread is running a transaction's function: other threads' writes wait for its end."""

def close_all() -> None:
    """Close every open database; the package registers this with ``atexit``.

    A database that another thread's transaction blocks for seconds is left as a kill would leave it. That is printed,
    as are errors.
    """

def after_fork_in_child() -> list[Path]:
    """Make every later call raise ``ForkedProcess`` if the parent has opened sled; return the files it has locked."""

@disjoint_base
class Tree:
    """An ordered map from bytes to bytes; ``Db.open_tree`` returns one.

    All methods are thread-safe, and each call is atomic unless it says otherwise. Keys and values are ``bytes``; any
    other buffer is accepted and copied. Besides what a method lists, each raises ``ClosedError`` after the database was
    closed, ``ForkedProcess`` in a forked child, ``CollectionNotFound`` after the tree was dropped, ``SledError`` inside
    a transaction's function, and ``SledIOError``, ``Corruption`` or ``ReportableBug`` when the storage fails.

    Iterating a tree yields ``(key, value)`` pairs in key order. ``tree[key]``, ``tree[key] = value`` and ``del
    tree[key]`` work as in a dict, including ``KeyError``. A tree is true if it is not empty. ``dict(iter(tree))`` and
    ``list(iter(tree))`` read it once and may or may not include concurrent writes; ``dict(tree)`` and ``list(tree)``
    make additional calls.

    Reading backwards takes about as long as forwards. At some keys after four bytes of 255, where sled's own search
    does not end, it takes up to some hundred microseconds.
    """

    _repr_html_: ClassVar[Callable[[Tree], str]]

    @property
    def name(self) -> bytes:
        """The tree's name."""

    @property
    def db(self) -> Db:
        """The database of this tree, always the same object."""

    def get(self, key: Buffer) -> bytes | None:
        """Return the value of ``key``, or None."""

    def contains(self, key: Buffer) -> bool:
        """Return whether ``key`` is in the tree, like ``key in tree``."""

    def __contains__(self, key: Buffer, /) -> bool: ...
    def __getitem__(self, key: Buffer, /) -> bytes: ...
    def __setitem__(self, key: Buffer, value: Buffer, /) -> None: ...
    def __delitem__(self, key: Buffer, /) -> None: ...
    def insert(self, key: Buffer, value: Buffer) -> bytes | None:
        """Set ``key`` to ``value``; return the previous value, or None."""

    def remove(self, key: Buffer) -> bytes | None:
        """Remove ``key``; return its value, or None."""

    def compare_and_swap(self, key: Buffer, old: Buffer | None, new: Buffer | None) -> bool:
        """Set ``key`` to ``new`` if its value is ``old``. None stands for a missing key.

        Returns:
            True if the value was set, False if it was not ``old``.
        """

    def update_and_fetch(self, key: Buffer, function: Callable[[bytes | None], Buffer | None]) -> bytes | None:
        """Replace the value of ``key`` with ``function(value)``; None stands for a missing key, before and after.

        ``function`` is called again after a concurrent write, so it must not have side effects. It may use the
        database. An exception leaves the value unchanged and is passed on.

        Returns:
            The new value.
        """

    def fetch_and_update(self, key: Buffer, function: Callable[[bytes | None], Buffer | None]) -> bytes | None:
        """Like ``update_and_fetch``, but return the previous value."""

    def apply_batch(self, batch: Batch) -> None:
        """Apply all writes of ``batch`` atomically, for readers as well as after a crash."""

    def first(self) -> _Pair | None:
        """Return the pair with the smallest key, or None if the tree is empty."""

    def last(self) -> _Pair | None:
        """Return the pair with the greatest key, or None if the tree is empty."""

    def get_lt(self, key: Buffer) -> _Pair | None:
        """Return the pair with the greatest key below ``key``, or None."""

    def get_gt(self, key: Buffer) -> _Pair | None:
        """Return the pair with the smallest key above ``key``, or None."""

    def pop_min(self) -> _Pair | None:
        """Atomically remove and return the pair with the smallest key, or None."""

    def pop_max(self) -> _Pair | None:
        """Atomically remove and return the pair with the greatest key, or None."""

    def range(self, start: Buffer | None = None, stop: Buffer | None = None, *, reverse: bool = False) -> Iter[_Pair]:
        """Iterate the pairs with ``start <= key < stop``, in key order or reversed."""

    def prefix(self, prefix: Buffer, *, reverse: bool = False) -> Iter[_Pair]:
        """Iterate the pairs whose key starts with ``prefix``."""

    def keys(self, start: Buffer | None = None, stop: Buffer | None = None, *, reverse: bool = False) -> Iter[bytes]:
        """Iterate the keys only."""

    def values(self, start: Buffer | None = None, stop: Buffer | None = None, *, reverse: bool = False) -> Iter[bytes]:
        """Iterate the values only, in key order."""

    def __iter__(self) -> Iter[_Pair]: ...
    def __reversed__(self) -> Iter[_Pair]: ...
    def __len__(self) -> int:
        """Count the pairs. O(n), because sled keeps no count, and not atomic."""

    def __bool__(self) -> bool: ...
    def is_empty(self) -> bool:
        """Return whether the tree has no pairs. O(log n)."""

    def clear(self) -> None:
        """Remove all pairs one by one. O(n), and not atomic."""

    def checksum(self) -> int:
        """Return the CRC-32 of all keys and values. O(n), and blocks all other calls."""

    def flush(self, fsync: bool = False) -> int:
        """Write the new data of all trees to the database's file; return the number of bytes written.

        Args:
            fsync: Also wait until everything, including large values, is on the disk. Without this, the data survives a
                crash of the process but not of the machine.
        """

    def watch(self, prefix: Buffer | None = None, *, capacity: int = 65536) -> Subscriber:
        """Watch future changes of the keys that start with ``prefix`` (None: of all keys).

        Some changes from just before the call may be included. An ``insert`` of the existing value, or a ``remove`` of
        a missing key, is not a change; a ``compare_and_swap`` or an update to the same value is.

        Writers never wait for a slow reader: when ``capacity`` events are waiting, the oldest are dropped, and the
        reader gets ``EventsLost`` once. Once watched, a tree has a thread, and each write costs some microseconds more,
        until the database is closed.
        """

@final
class Db(Tree):
    """A database. It is also its own default tree, with all methods of a ``Tree``."""

    @property
    def path(self) -> Path:
        """The folder, absolute and without symbolic links."""

    @property
    def was_recovered(self) -> bool:
        """Whether the database existed before it was opened."""

    @property
    def failure(self) -> SledIOError | None:
        """Why the database can be read, but not written any more; None while it is sound.

        A database fails when something that it has to write cannot be written, such as on a full disk or beyond the
        limit of open files, or when its folder is removed or renamed. Then every write, flush and ``close`` raises this
        error at once. ``close`` leaves the folder as a kill would; opening it again recovers what was written before.
        """

    def open_tree(self, name: str | Buffer) -> Tree:
        """Return the tree with this name, creating it if it is missing. Text stands for its UTF-8 bytes."""

    def tree_names(self) -> list[bytes]:
        """The names of all trees, sorted; the default tree's is ``b"__sled__default"``."""

    def drop_tree(self, name: str | Buffer) -> bool:
        """Remove a tree and its content; its handles then raise ``CollectionNotFound``.

        O(n). Waits for calls and transactions that are using the tree.

        Returns:
            False if there was no such tree.

        Raises:
            Unsupported: It is the default tree.
        """

    def size_on_disk(self) -> int:
        """Return the size of the database's files in bytes."""

    def blob_sizes(self) -> tuple[int, int]:
        """Return the bytes of the files in which sled keeps large pages, and how many of them are of no use any more.

        ``sled.open`` removes the unused ones; those that come later stay until the next opening. O(n) in the size of
        the log since the database was opened, if there are such files. Approximate while other threads write.
        """

    def generate_id(self) -> int:
        """Return an integer greater than all before, also after restarts and kills; they are not contiguous.

        Takes 0.2 microseconds; each millionth call fsyncs a small file in the folder, and the first one after a restart
        also skips a million integers, which takes 30 milliseconds. The counter is not part of ``export()``.
        """

    def checksum(self) -> int:
        """Return the CRC-32 of all trees' names, keys and values. O(n), and blocks all other calls."""

    def export(self) -> list[_Export]:
        """Return ``(b"tree", name, pairs)`` for each tree; ``pairs`` is an iterator.

        This is the form of sled's own ``Db::export``, for moving to another version of sled:
        ``other.import_(db.export())``. It needs little memory however large the trees are.
        """

    def import_(self, export: Iterable[_Import]) -> None:
        """Insert what ``export()`` returned, here or in another version. Streams, and overwrites nothing.

        Raises:
            SledError: A key exists already; everything before it was inserted.
        """

    def close(self) -> None:
        """Write and fsync everything, and release the folder, even while trees or iterators are referenced.

        Waits for running calls in other threads; later ones raise ``ClosedError``. Closing again does nothing. If the
        last write fails, its error is raised and the database is closed nevertheless.
        """

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

@final
class Batch:
    """Writes for ``Tree.apply_batch``; for each key, the last one counts."""

    def __new__(cls) -> Self: ...
    def insert(self, key: Buffer, value: Buffer) -> None:
        """Set ``key`` to ``value``."""

    def remove(self, key: Buffer) -> None:
        """Remove ``key``."""

@final
class Iter(Generic[_T_co]):
    """An iterator over a tree that reads ahead in chunks of growing size.

    It may or may not include concurrent writes, and yields each pair at most once. After an error it ends. Threads can
    share it; each pair goes to one of them.
    """

    def __iter__(self) -> Self: ...
    def __next__(self) -> _T_co: ...

@final
class TransactionTree:
    """A tree inside a transaction, which sees the transaction's own writes."""

    def get(self, key: Buffer) -> bytes | None:
        """Return the value of ``key``, or None."""

    def insert(self, key: Buffer, value: Buffer) -> bytes | None:
        """Set ``key`` to ``value``; return the previous value, or None."""

    def remove(self, key: Buffer) -> bytes | None:
        """Remove ``key``; return its value, or None."""

    def apply_batch(self, batch: Batch) -> None:
        """Apply the writes of ``batch``."""

    def generate_id(self) -> int:
        """Like ``Db.generate_id``; not undone if the transaction aborts."""

    def flush(self) -> None:
        """Flush (without fsync) once the transaction has been applied."""

@final
class Event:
    """A change of a key. Events with the same key and value are equal; the repr shows only sizes."""

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
    """The changes of a tree. Iterating waits for them.

    It ends after the watcher or its database is closed, or the tree is dropped, and all earlier events are read. Ctrl-C
    interrupts a wait.
    """

    def get(self, timeout: float | None = None) -> Event | None:
        """Wait up to ``timeout`` seconds (None: for ever) for the next change; return None if there is none.

        Raises:
            ClosedError: The watcher or the database is closed, and all events have been read.
            EventsLost: Events were dropped since the last call; the next call continues with the remaining ones.
        """

    def close(self) -> None:
        """Stop watching and wake threads that wait for an event."""

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
        """The names of all trees, sorted; the default tree has its name of 0.34."""

    def read(self, tree: str | Buffer, after: Buffer | None, limit: int) -> list[_Pair]:
        """Return the first pairs with keys above ``after``, at most ``limit``."""

    def insert_new(self, tree: str | Buffer, pairs: list[_Pair]) -> None:
        """Insert pairs into a tree, which is created if missing.

        Raises:
            SledError: A key exists already.
        """

    def close(self) -> None:
        """Write everything to the disk and release the folder."""

def open_v1(path: _Path) -> V1:
    """Open a database of sled 1.0, creating it if it is missing."""

@final
class Salvage:
    """The pages of a damaged database; see ``sled_sessions.sled.salvage``."""

    def __new__(cls, path: _Path) -> Self: ...
    def page(self) -> tuple[bytes | None, list[_Pair]] | None:
        """Return the next page's tree and pairs; None at the end."""

    @property
    def lost(self) -> int:
        """The number of places that could not be read so far."""

def is_json(value: object, levels: int, /) -> bool:
    """Return whether ``value`` consists of JSON's types. O(n), without a copy and without running Python code.

    They are exactly None, bool, int, finite float, str, list, tuple, and dict with keys of type str; a subclass is not
    one. Containers may be nested ``levels`` deep, at most 1000, counting ``value`` itself. The size of an integer and
    lone surrogates in text are not looked at: encoding finds them.
    """
