"""Sessions out into a file of JSON Lines and back, as a stream of any length; `records.jsonl` describes a line."""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from os import PathLike
from typing import IO

import attrs

from sled_sessions import sled
from sled_sessions.errors import DecodeError
from sled_sessions.operate.errors import OperationError
from sled_sessions.operate.folders import appearing_file
from sled_sessions.records import jsonl
from sled_sessions.stores.sled import SledStore
from sled_sessions.stores.sled.indexed_tree import IndexedTree, expiry_of
from sled_sessions.stores.sweep import PROGRESS_STEP, Progress


@attrs.frozen
class ImportReport:
    """What `import_sessions` did.

    Attributes:
        written: Sessions that were not there, or were replaced.
        kept: Sessions that were there already and were left alone.
        unreadable: Lines of records that cannot be read, or whose key is no id; their bytes were written all the same.
    """

    written: int = 0
    kept: int = 0
    unreadable: int = 0


def export_lines(tree: sled.Tree, after: bytes | None = None) -> Iterator[bytes]:
    """The records of a tree as lines with their ends, in the order of their keys, those after `after` only."""
    for key, value in tree.range(None if after is None else after + b"\0"):
        yield jsonl.to_line(key, value) + b"\n"


def export_sessions(
    tree: sled.Tree, file: str | PathLike[str], *, resume: bool = False, progress: Progress | None = None
) -> int:
    """Write every record of a tree into a file, and return how many lines it has. O(n), in bounded memory.

    Until it is whole the file is called `.<name>.partial`. An export that was interrupted leaves that one behind.

    Args:
        tree: The records.
        file: The file to make.
        resume: Go on with the partial file of an interrupted export instead of starting again. Sessions that changed
            since then have what they had when they were written.
        progress: Told how many lines are written.

    Raises:
        TargetExists: The file is there already.
        OperationError: The partial file is of another kind; the folder is missing, may not be written to, or is the
            database's own.
        sled.SledError: The tree could not be read.
        OSError: The file could not be written.
    """
    with appearing_file(file, source=tree.db.path, keep=True, resume=resume) as out:
        lines, last = _resume_point(out)
        for line in export_lines(tree, last):
            out.write(line)
            lines += 1
            if progress is not None and lines % PROGRESS_STEP == 0:
                progress(lines, None)
    if progress is not None:
        progress(lines, lines)
    return lines


def import_sessions(
    store: SledStore,
    lines: Iterable[bytes],
    *,
    replace: bool = False,
    progress: Callable[[int], object] | None = None,
) -> ImportReport:
    """Write sessions from lines into a store, under their ids and with their expiries. O(log n) for each.

    Importing the same lines again writes nothing new, so an import that was interrupted is simply started again.

    Args:
        store: Where to write.
        lines: What `export_sessions` wrote, or lines like it; empty ones are skipped.
        replace: Overwrite sessions that are there with other data; by default they are left alone.
        progress: Told how many bytes were read.

    Raises:
        OperationError: A line cannot be read; the message says which. Those before it are written.
        sled.SledError: The store could not be written.
    """
    sessions = IndexedTree.of(store.tree)
    written = kept = unreadable = 0
    for key, value in read_lines(lines if progress is None else _watched(lines, progress)):
        there = store.tree.get(key)
        if there is not None and (there == value or not replace):
            kept += 1
            continue
        expiry = expiry_of(key, value)
        if expiry is None:  # no store can load it, and the index has no entry for it
            store.tree.insert(key, value)
            unreadable += 1
        else:
            sessions.save(key, value, expiry)
        written += 1
    store.flush(fsync=True)
    return ImportReport(written=written, kept=kept, unreadable=unreadable)


def checked_lines(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The same lines, after a look at the first one: what is no file of sessions is told before a database is made.

    Raises:
        OperationError: The first line cannot be read.
    """
    lines = iter(lines)
    head = list(islice(lines, 1))
    list(read_lines(head))
    return chain(head, lines)


def read_lines(lines: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """The key and the value of each line; empty ones are skipped.

    Raises:
        OperationError: A line cannot be read; the message says which.
    """
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                session = jsonl.from_line(line)
            except DecodeError as error:
                raise OperationError(f"line {number:,}: {error}") from None
            yield session


def _watched(lines: Iterable[bytes], progress: Callable[[int], object]) -> Iterator[bytes]:
    read = 0
    for number, line in enumerate(lines, 1):
        read += len(line)
        if number % PROGRESS_STEP == 0:
            progress(read)
        yield line
    progress(read)


def _resume_point(out: IO[bytes]) -> tuple[int, bytes | None]:
    """Cut off an incomplete last line, and return how many lines are there and the key of the last one."""
    lines, end, last = 0, 0, b""
    for line in out:
        if line.endswith(b"\n"):
            lines, end, last = lines + 1, end + len(line), line
    out.seek(end)
    out.truncate()
    if not lines:
        return 0, None
    try:
        return lines, jsonl.from_line(last)[0]
    except DecodeError as error:
        raise OperationError(f"{out.name} cannot be resumed, delete it: {error}") from None
