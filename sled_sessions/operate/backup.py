"""A whole database in one file, and back.

The file is a line that names the format, then blocks: length and CRC-32 of the payload (4 bytes each, big-endian), then
the payload, a MessagePack array. A tree's block is its name and a list of pairs; the last block is the `Contents` of
all. So a reader needs little memory, and notices damaged and missing blocks.
"""

import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import IO

import msgspec

from sled_sessions import sled
from sled_sessions.operate.contents import Contents, Reading, contents_of
from sled_sessions.operate.errors import ContentsDiffer, NoDatabase
from sled_sessions.operate.files import appearing_file
from sled_sessions.operate.folders import appearing, kept_store
from sled_sessions.stores.sled.index import index_trees
from sled_sessions.stores.sweep import Progress

_MAGIC = b"sled_sessions backup 1\n"
_FRAME = struct.Struct(">II")
_BLOCK_BYTES = 1 << 20
_LONGEST_BLOCK = 1 << 31

_encode = msgspec.msgpack.Encoder().encode
_decode_block = msgspec.msgpack.Decoder(tuple[bytes, list[tuple[bytes, bytes]]] | Contents).decode


def backup(db: sled.Db, file: str | PathLike[str], *, progress: Progress | None = None) -> Contents:
    """Write all trees of a database into a file, and read the file back. O(n), in bounded memory.

    The database may be in use. Concurrent writes may or may not be in the backup, which then may hold records without
    their index entry: `restore` builds the index of such a backup anew. The file appears under its name when it is
    complete and on disk.
    """
    with appearing_file(file, source=db.path) as out:
        written = _write(out, Reading(db.export(), progress))
        out.flush()
        written.require(check_backup(out.name, progress=progress), out.name)
    return written


def restore(file: str | PathLike[str], folder: str | PathLike[str], *, progress: Progress | None = None) -> Contents:
    """Create a database folder from a backup file, and compare it with the file's checksum. O(n log n), bounded memory.

    The folder appears when it is complete and on disk. `NoDatabase` means that the file is not a backup, and
    `ContentsDiffer` also that it is damaged.
    """
    source = _Blocks(Path(file))
    with appearing(folder) as partial:
        with sled.open(partial) as db:
            db.import_(Reading(source, progress))
        with sled.open(partial) as db:
            source.contents.require(contents_of(db.export(), progress, source.contents.pairs), str(folder))
            _mend_indexes(db)
    return source.contents


def check_backup(file: str | PathLike[str], *, progress: Progress | None = None) -> Contents:
    """Read a backup file to its end and return what it contains. If it is damaged, the error says where."""
    source = _Blocks(Path(file))
    read = contents_of(source, progress)
    return source.contents.require(read, str(file))


def _write(out: IO[bytes], reading: Reading) -> Contents:
    out.write(_MAGIC)
    for _, name, pairs in reading:
        block: list[tuple[bytes, bytes]] = []
        size = 0
        for key, value in pairs:
            block.append((key, value))
            size += len(key) + len(value)
            if size >= _BLOCK_BYTES:
                _write_block(out, (name, block))
                block, size = [], 0
        _write_block(out, (name, block))  # also for an empty tree
    contents = reading.contents()
    _write_block(out, contents)
    return contents


def _write_block(out: IO[bytes], block: object) -> None:
    payload = _encode(block)
    out.write(_FRAME.pack(len(payload), zlib.crc32(payload)))
    out.write(payload)


class _Blocks:
    """The trees of a backup file, and, once they have been iterated, the contents that the file says it has."""

    contents: Contents

    def __init__(self, file: Path) -> None:
        self._file = file
        self._open().close()

    def __iter__(self) -> Iterator[tuple[bytes, bytes, Iterator[tuple[bytes, bytes]]]]:
        with self._open() as source:
            block = self._read(source)

            def pairs(name: bytes) -> Iterator[tuple[bytes, bytes]]:
                nonlocal block
                while not isinstance(block, Contents) and block[0] == name:
                    yield from block[1]
                    block = self._read(source)

            while not isinstance(block, Contents):
                yield b"tree", block[0], pairs(block[0])
            self.contents = block

    def _open(self) -> IO[bytes]:
        """The file, positioned after its first line."""
        source = self._file.open("rb")
        if source.read(len(_MAGIC)) != _MAGIC:
            source.close()
            raise NoDatabase(f"{self._file} is not a backup that this version can read")
        return source

    def _read(self, source: IO[bytes]) -> tuple[bytes, list[tuple[bytes, bytes]]] | Contents:
        start = source.tell()
        frame = source.read(_FRAME.size)
        if len(frame) == _FRAME.size:
            size, crc = _FRAME.unpack(frame)
            payload = source.read(size) if size < _LONGEST_BLOCK else b""
            if len(payload) == size and zlib.crc32(payload) == crc:
                with suppress(msgspec.DecodeError):  # a checksum is no seal: anyone can compute it
                    block: tuple[bytes, list[tuple[bytes, bytes]]] | Contents = _decode_block(payload)
                    return block
        raise ContentsDiffer(f"the backup {self._file} is damaged or cut off at byte {start:,}: use another backup")


def _mend_indexes(db: sled.Db) -> None:
    """Rebuild indexes that disagree with their records, because the database was written to during the backup."""
    for name in db.tree_names():
        if index_trees(db, name):
            store = kept_store(db, name)
            if not store.verify_index():
                store.rebuild_index()
