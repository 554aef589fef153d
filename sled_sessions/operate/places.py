"""Places that hold sessions: sled databases, Valkey or Redis servers, files of JSON Lines."""

import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, Protocol, TypeAlias, cast

import attrs

from sled_sessions import sled
from sled_sessions.operate.errors import OperationError
from sled_sessions.operate.files import appearing_file, open_file
from sled_sessions.operate.folders import kept_store, made_store, open_database, refuse_tree_of_index
from sled_sessions.operate.lines import checked_lines, read_lines, whole_lines, written_sessions
from sled_sessions.records import Record, jsonl
from sled_sessions.stores.adapter import AsyncStore
from sled_sessions.stores.protocol import AsyncSessionStore

if TYPE_CHECKING:
    from sled_sessions.redis import RedisStore

_is_file_suffix = re.compile(r"\.[A-Za-z]\w*").fullmatch
_is_host_and_port = re.compile(r"[^/]*:\d{1,5}(/\d*)?").fullmatch

Pair: TypeAlias = tuple[bytes, bytes]
"""A record's key and bytes."""

Outcome: TypeAlias = Literal["copied", "there", "differs", "expired", "failed"]
"""The number in a `CopyReport` that counts a session."""

Put: TypeAlias = Callable[[Record], Awaitable[Outcome]]
"""Writes a session, unless the place has one that must be left alone."""


@attrs.frozen
class Sessions:
    """The sessions in a place, and how many there are; None if only reading them all would tell."""

    pairs: AsyncIterator[Pair]
    total: int | None = None


class Place(Protocol):
    """A place that holds sessions."""

    def reading(self) -> AbstractAsyncContextManager[Sessions]:
        """Open it as a source, which must exist."""

    def writing(self) -> AbstractAsyncContextManager[Put]:
        """Open it as a target, creating it if necessary. What was put is on disk when the block has ended well."""


def is_url(name: str) -> bool:
    """Whether a place is a server."""
    return "://" in name


def place_at(name: str | PathLike[str], *, tree: str = "session", prefix: str = "session:") -> Place:
    """The place with this name.

    Args:
        name: A URL as `RedisStore.from_url` takes it; a file of JSON Lines, which exists or ends in `.jsonl`, or `-`
            for standard input and output; otherwise the folder of a sled database.
        tree: The tree of the sessions in a database.
        prefix: The prefix of the sessions' keys on a server.

    Raises:
        OperationError: It looks like the host and port of a server but is not a URL.
    """
    name = os.fspath(name)
    if _is_host_and_port(name) and not Path(name).exists():
        raise OperationError(  # the name may hold a password, so the message does not show it
            "a server is given as a URL: write redis:// before its host; a folder with such a name must exist already"
        )
    if is_url(name):
        return _Server(name, prefix)
    if name == "-" or Path(name).suffix == ".jsonl" or Path(name).is_file():
        return _Lines(name)
    return _Database(name, tree)


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
        except (ImportError, ValueError) as error:  # the package is missing, or the URL is wrong
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
        with self._source() as lines:
            yield Sessions(_async(read_lines(checked_lines(lines))))

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Put]:
        """An existing file is replaced by a complete one that begins with its sessions."""
        if self.path == "-":
            with _standard(1, "wb") as lines:
                yield _into_lines(lines, {})
                lines.flush()
            return
        there = {key: hash(value) for key, value in self._sessions()}  # read before there is a partial file
        with appearing_file(self.path, replace=True, keep=True, resume=True) as lines:
            written = {key: hash(value) for key, value in written_sessions(lines)}
            if there:
                for key, value in self._sessions():
                    if key not in written:
                        lines.write(jsonl.to_line(key, value) + b"\n")
            yield _into_lines(lines, written | there)

    def _source(self) -> IO[bytes]:
        return _standard(0, "rb") if self.path == "-" else open(self.path, "rb")

    def _sessions(self) -> Iterator[Pair]:
        """The sessions in the file, if it exists; a last line that was cut off is left out."""
        with suppress(FileNotFoundError), open_file(self.path, advice="choose another name") as lines:
            if os.fstat(lines.fileno()).st_uid != os.geteuid():
                raise OperationError(f"{self.path} belongs to another user: choose another name")
            yield from read_lines(whole_lines(lines))


def _refuse_name_of_file(path: str) -> None:
    """Create no folder with a name such as `sessions.txt`."""
    if not Path(path).is_dir() and _is_file_suffix(Path(path).suffix):
        raise OperationError(
            f"{path} looks like a file: sessions go into a file that ends in .jsonl, or into the folder of a database; "
            "a folder with such a name must exist already"
        )


def _standard(number: int, mode: str) -> IO[bytes]:
    return cast("IO[bytes]", os.fdopen(number, mode, closefd=False))


def _into_lines(lines: IO[bytes], written: dict[bytes, int]) -> Put:
    """Appends the sessions that are not in `written`, by key and hash."""

    async def put(record: Record) -> Outcome:
        key, value = record.id.key, record.encode()
        if key in written:
            return "there" if written[key] == hash(value) else "differs"
        lines.write(jsonl.to_line(key, value) + b"\n")
        written[key] = hash(value)
        return "copied"

    return put


def _into(store: AsyncSessionStore) -> Put:
    async def put(record: Record) -> Outcome:
        stored = await store.load(record.id)
        if stored is not None and (stored == record or stored.expiry_date > record.expiry_date):
            return "there"
        await store.save(record)
        return "copied"

    return put


async def _async(pairs: Iterable[Pair]) -> AsyncIterator[Pair]:
    for pair in pairs:
        yield pair
