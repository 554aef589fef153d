"""Sessions from one place to another: live ones between any two places, and every record to JSON Lines and back."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from os import PathLike
from typing import IO

import attrs

from sled_sessions import sled
from sled_sessions.errors import DecodeError, RecordTooLarge
from sled_sessions.operate.errors import OperationError
from sled_sessions.operate.files import appearing_file
from sled_sessions.operate.lines import read_lines, written_sessions
from sled_sessions.operate.places import Outcome, Pair, Place, Put
from sled_sessions.records import Record, jsonl
from sled_sessions.stores.clock import utc_now
from sled_sessions.stores.sled import SledStore
from sled_sessions.stores.sled.indexed_tree import IndexedTree, expiry_of
from sled_sessions.stores.sweep import PROGRESS_STEP, Progress

_BATCH = 64
"""Sessions in flight at once, so that a server's latency is paid once per batch."""


@attrs.frozen
class CopyReport:
    """What `copy_sessions` did.

    Attributes:
        copied: Sessions that were written.
        there: Sessions that the target had already, unchanged or used since, and that were left alone.
        differs: Sessions of which the target, a file, has another state, which was left alone.
        expired: Sessions that had expired and were not copied.
        failed: Records that cannot be decoded, have another id than their key, or are too large for the target.
    """

    copied: int = 0
    there: int = 0
    differs: int = 0
    expired: int = 0
    failed: int = 0


@attrs.frozen
class ImportReport:
    """What `import_sessions` did.

    Attributes:
        written: Sessions that were written because they were new or replaced.
        kept: Sessions that the store had already and that were left alone.
        unreadable: Of those written, records that no store can load.
        too_large: Records of more than the store's `max_record_bytes`, which were not written.
    """

    written: int = 0
    kept: int = 0
    unreadable: int = 0
    too_large: int = 0


async def copy_sessions(source: Place, target: Place, *, progress: Progress | None = None) -> CopyReport:
    """Copy the live sessions with their ids and expiries, so that visitors stay logged in. O(n).

    A session that the target has already is overwritten, unless it expires later there, which means that it has been
    used since. In a file it is left alone, and counted as `differs` if it is not the same; the file's ids are kept in
    memory. To continue an interrupted copy, start it again. Stop programs that use either place: their writes may be
    missed.

    Raises:
        OperationError: Also if a line of a file is not a session, or a URL has an unknown scheme.
        BackendError: A server could not be reached.
    """
    counts = Counter[str]()
    async with source.reading() as sessions, target.writing() as put:
        async for batch in _batches(sessions.pairs):
            # Every copy is awaited before an error is raised, so that none writes after the places are closed.
            outcomes = await asyncio.gather(*(_copy(*pair, put) for pair in batch), return_exceptions=True)
            for outcome in outcomes:
                if isinstance(outcome, BaseException):
                    raise outcome
                counts[outcome] += 1
            if progress is not None:
                progress(counts.total(), sessions.total)
    return CopyReport(**counts)


def export_lines(tree: sled.Tree, after: bytes | None = None) -> Iterator[bytes]:
    """The records of a tree as lines, in the order of their keys, from the first key after `after` on."""
    for key, value in tree.range(None if after is None else after + b"\0"):
        yield jsonl.to_line(key, value) + b"\n"


def export_sessions(
    tree: sled.Tree, file: str | PathLike[str], *, resume: bool = False, progress: Progress | None = None
) -> int:
    """Write every record of a tree into a file, and return its number of lines. O(n), in bounded memory.

    Until it is complete the file is called `.<name>.partial`. An interrupted export leaves that one behind.

    Args:
        tree: The records.
        file: The file to create.
        resume: Continue the partial file of an interrupted export instead of starting again. Sessions that changed
            since then keep the state in which they were written.
        progress: Called with the number of lines written.

    Raises:
        OperationError: Also if the partial file is something else.
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
    """Write sessions from lines into a store, with their ids and expiries. O(log n) for each.

    Importing the same lines again writes nothing, so to continue an interrupted import, start it again.

    Args:
        store: The store to write to.
        lines: What `export_sessions` wrote, or lines like it; empty ones are skipped.
        replace: Overwrite sessions that exist with other data; by default they are left alone.
        progress: Called with the number of bytes read.

    Raises:
        OperationError: A line is not a session; the message says which. Those before it are written.
    """
    sessions = IndexedTree.of(store.tree)
    written = kept = unreadable = too_large = 0
    for key, value in read_lines(lines if progress is None else _counted(lines, progress)):
        if len(value) > store.max_record_bytes:
            too_large += 1
            continue
        stored = store.tree.get(key)
        if stored is not None and (stored == value or not replace):
            kept += 1
            continue
        expiry = expiry_of(key, value)
        if expiry is None:  # no sweep can tell when it expires, so it has no index entry
            store.tree.insert(key, value)
        else:
            sessions.save(key, value, expiry)
        written += 1
        unreadable += Record.decode_if_readable(key, value) is None
    store.flush(fsync=True)
    return ImportReport(written=written, kept=kept, unreadable=unreadable, too_large=too_large)


async def _copy(key: bytes, value: bytes, put: Put) -> Outcome:
    try:
        record = Record.decode_stored(key, value)
        if record.expiry_date <= utc_now():
            return "expired"
        return await put(record)
    except (DecodeError, RecordTooLarge):
        return "failed"


async def _batches(pairs: AsyncIterator[Pair]) -> AsyncIterator[list[Pair]]:
    batch: list[Pair] = []
    async for pair in pairs:
        batch.append(pair)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    yield batch


def _resume_point(out: IO[bytes]) -> tuple[int, bytes | None]:
    """The number of sessions that a partial file has, and the key of the last one."""
    lines, last = 0, None
    try:
        for last, _ in written_sessions(out):  # noqa: B007 - the last one counts
            lines += 1
    except OperationError as error:
        raise OperationError(f"{out.name} cannot be resumed, delete it: {error}") from None
    return lines, last


def _counted(lines: Iterable[bytes], progress: Callable[[int], object]) -> Iterator[bytes]:
    read = 0
    for number, line in enumerate(lines, 1):
        read += len(line)
        if number % PROGRESS_STEP == 0:
            progress(read)
        yield line
    progress(read)
