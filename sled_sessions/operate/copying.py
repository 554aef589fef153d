"""Live sessions from one place to another: sled databases, Valkey or Redis servers, files of JSON Lines."""

import asyncio
import os
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from os import PathLike
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, Protocol, TypeAlias, cast

import attrs

from sled_sessions import sled
from sled_sessions.errors import DecodeError, RecordTooLarge
from sled_sessions.operate.errors import OperationError
from sled_sessions.operate.folders import kept_store, made_store, open_database, refuse_tree_of_index
from sled_sessions.operate.transfer import checked_lines, read_lines
from sled_sessions.records import Record, jsonl
from sled_sessions.stores.adapter import AsyncStore
from sled_sessions.stores.clock import utc_now
from sled_sessions.stores.encoded import record_of
from sled_sessions.stores.protocol import AsyncSessionStore
from sled_sessions.stores.sweep import Progress

if TYPE_CHECKING:
    from sled_sessions.redis import RedisStore

_BATCH = 64
"""Sessions under way at once: a server is waited for once for so many."""

_is_file_ending = re.compile(r"\.[A-Za-z]\w*").fullmatch
_is_host_and_port = re.compile(r"[^/]*:\d{1,5}(/\d*)?").fullmatch

_STARTS = (b'{"id":"', b'{"key":"')
"""How the lines begin that `records.jsonl` writes."""


@attrs.frozen
class CopyReport:
    """What `copy_sessions` did.

    Attributes:
        copied: Sessions that were written.
        there: Sessions that the target had already, the same or used since, and that were left alone.
        differs: Sessions of which the target, a file, has another state, which was left alone.
        expired: Sessions that had expired and were left behind.
        failed: Records that cannot be read, lie under another id, or are too large for the target; they stay where they
            are.
    """

    copied: int = 0
    there: int = 0
    differs: int = 0
    expired: int = 0
    failed: int = 0


Outcome: TypeAlias = Literal["copied", "there", "differs", "expired", "failed"]
"""Which number of the report counts a session."""

_Pair: TypeAlias = tuple[bytes, bytes]

Put = Callable[[Record], Awaitable[Outcome]]
"""Writes a session, unless there is one to be left alone."""


@attrs.frozen
class Sessions:
    """What lies in a place.

    Attributes:
        pairs: The records' keys and bytes.
        total: How many there are; None where only reading them all would tell.
    """

    pairs: AsyncIterator[_Pair]
    total: int | None = None


class Place(Protocol):
    """Where sessions lie."""

    def reading(self) -> AbstractAsyncContextManager[Sessions]:
        """Open it as a source, which must be there."""

    def writing(self) -> AbstractAsyncContextManager[Put]:
        """Open it as a target, made if it is missing; what was put is on the disk when the block has ended well."""


def place_at(name: str | PathLike[str], *, tree: str = "session", prefix: str = "session:") -> Place:
    """The place of a name.

    Args:
        name: A URL as `RedisStore.from_url` takes it; a file of JSON Lines, which is there or ends in `.jsonl`, or `-`
            for standard input and output; otherwise the folder of a sled database.
        tree: The tree of the sessions in a database.
        prefix: What the keys of the sessions begin with on a server.

    Raises:
        OperationError: It looks like the host and port of a server, and is no URL.
    """
    name = os.fspath(name)
    if _is_host_and_port(name) and not Path(name).exists():
        raise OperationError(  # which may show no password
            "a server is given as a URL: write redis:// before its host; a folder may be called so if you make it first"
        )
    if is_url(name):
        return _Server(name, prefix)
    if name == "-" or Path(name).suffix == ".jsonl" or Path(name).is_file():
        return _Lines(name)
    return _Database(name, tree)


def is_url(name: str) -> bool:
    """Whether a place is a server."""
    return "://" in name


async def copy_sessions(source: Place, target: Place, *, progress: Progress | None = None) -> CopyReport:
    """Copy the live sessions, with their ids and expiries, so that nobody is logged out. O(n).

    A session that is in the target already is written over, unless it expires later there: then it was used since. In
    a file it is left alone, counted as `differs` if it is not the same; the ids that the file has are kept in memory.
    So a copy that was interrupted is simply started again. What programs write to either meanwhile may be missed: stop
    them first.

    Raises:
        OperationError: There is no source, a line of a file is no session, or a URL is of no kind that is known.
        BackendError: A server could not be reached.
        sled.SledError, OSError: A database or a file could not be read or written.
    """
    counts = Counter[str]()
    async with source.reading() as sessions, target.writing() as put:
        async for batch in _batches(sessions.pairs):
            # Every outcome is waited for before an error is told: nothing writes on when the places have been closed.
            outcomes = await asyncio.gather(*(_copy(*pair, put) for pair in batch), return_exceptions=True)
            for outcome in outcomes:
                if isinstance(outcome, BaseException):
                    raise outcome
                counts[outcome] += 1
            if progress is not None:
                progress(counts.total(), sessions.total)
    return CopyReport(**counts)


async def _copy(key: bytes, value: bytes, put: Put) -> Outcome:
    try:
        record = record_of(key, value)
        if record.expiry_date <= utc_now():
            return "expired"
        return await put(record)
    except (DecodeError, RecordTooLarge):
        return "failed"


async def _batches(pairs: AsyncIterator[_Pair]) -> AsyncIterator[list[_Pair]]:
    batch: list[_Pair] = []
    async for pair in pairs:
        batch.append(pair)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    yield batch


# -- places -----------------------------------------------------------------------------------------------------------


@attrs.frozen
class _Server:
    url: str
    prefix: str

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Sessions]:
        async with self._store() as store:
            yield Sessions(((id.key, value) async for id, value in store.pairs()), await store.count())

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Put]:
        async with self._store() as store:
            yield _into(store)

    def _store(self) -> "RedisStore":
        try:
            from sled_sessions.redis import RedisStore

            return RedisStore.from_url(self.url, prefix=self.prefix)
        except (ImportError, ValueError) as error:  # of a package that is missing, or of the URL
            raise OperationError(str(error)) from None


@attrs.frozen
class _Database:
    path: str
    tree: str

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Sessions]:
        with open_database(self.path) as db:
            records = kept_store(db, self.tree).tree
            yield Sessions(_async(records), len(records))

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Put]:
        _refuse_name_of_file(self.path)
        refuse_tree_of_index(self.tree)
        with sled.open(self.path) as db:
            store = made_store(db, self.tree)
            yield _into(AsyncStore(store))
            store.flush(fsync=True)


@attrs.frozen
class _Lines:
    path: str

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Sessions]:
        with self._open(0, os.O_RDONLY, "rb") as lines:
            yield Sessions(_async(read_lines(checked_lines(lines))))

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Put]:
        with self._open(1, os.O_RDWR | os.O_CREAT, "wb" if self.path == "-" else "r+b") as lines:
            there = _sessions_to_add_to(lines) if lines.readable() else {}

            async def put(record: Record) -> Outcome:
                key, value = record.id.key, record.encode()
                if key in there:
                    return "there" if there[key] == hash(value) else "differs"
                lines.write(jsonl.to_line(key, value) + b"\n")
                there[key] = hash(value)
                return "copied"

            yield put
            lines.flush()
            if self.path != "-":
                os.fsync(lines.fileno())

    def _open(self, standard: int, flags: int, mode: str) -> IO[bytes]:
        if self.path == "-":
            return cast("IO[bytes]", os.fdopen(standard, mode, closefd=False))
        # Whoever reads the file holds the sessions, so only its owner may.
        return cast("IO[bytes]", os.fdopen(os.open(self.path, flags, 0o600), mode))


def _refuse_name_of_file(path: str) -> None:
    """Make no folder called `sessions.txt`, unless somebody has made it before."""
    if not Path(path).is_dir() and _is_file_ending(Path(path).suffix):
        raise OperationError(
            f"{path} looks like a file: sessions go into one that ends in .jsonl, or into the folder of a database, "
            "which may be called so if you make it first"
        )


def _sessions_to_add_to(file: IO[bytes]) -> dict[bytes, int]:
    """The keys of the sessions in a file and the hashes of their values; the file then ends where a line may be added.

    A session that an interruption cut off at the end is removed. Anything else that is no session is an error.
    """
    last = b""

    def lines() -> Iterator[bytes]:
        nonlocal last
        for last in file:
            if not _is_cut_off(last):
                yield last

    there = {key: hash(value) for key, value in read_lines(lines())}
    if _is_cut_off(last):
        file.seek(-len(last), os.SEEK_END)
        file.truncate()
    elif last and not last.endswith(b"\n"):
        file.write(b"\n")
    return there


def _is_cut_off(line: bytes) -> bool:
    """Whether a line is the beginning of a session's: what else a file may end with is not ours to remove."""
    if line.endswith(b"\n") or not any(line[: len(start)] == start[: len(line)] for start in _STARTS):
        return False
    try:
        jsonl.from_line(line)
    except DecodeError:
        return True
    return False


def _into(store: AsyncSessionStore) -> Put:
    async def put(record: Record) -> Outcome:
        there = await store.load(record.id)
        if there is not None and (there == record or there.expiry_date > record.expiry_date):
            return "there"
        await store.save(record)
        return "copied"

    return put


async def _async(pairs: Iterable[tuple[bytes, bytes]]) -> AsyncIterator[_Pair]:
    for pair in pairs:
        yield pair
