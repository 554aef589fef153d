"""LMDB, with a table of records and a table of expiries, like SledStore."""

import struct
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lmdb
import msgspec

from benchmarks.peers.base import Peer, Session
from sled_sessions import Id

_MAP_SIZE = 16 << 30  # reserves address space, not disk
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode
_pack = struct.Struct(">Q").pack
_unpack_from = struct.Struct(">Q").unpack_from


class LmdbPeer(Peer):
    """Sessions in one table and their expiries in another; a transaction for each write keeps them consistent."""

    name = "lmdb"
    most = 1_000_000
    loses = "the whole database (sync=False; an fsync for each commit takes milliseconds)"

    def __init__(self, folder: Path) -> None:
        self._env = lmdb.open(str(folder), map_size=_MAP_SIZE, max_dbs=2, sync=False)
        self._sessions = self._env.open_db(b"session")
        self._index = self._env.open_db(b"expiry")

    def save(self, sessions: Iterable[Session], *, new: bool) -> None:
        for id, data, expiry in sessions:
            key, at = bytes(id), _pack(int(expiry.timestamp()))
            with self._env.begin(write=True) as transaction:
                old = transaction.get(key, db=self._sessions)
                if old is None or old[:8] != at:
                    if old is not None:
                        transaction.delete(old[:8] + key, db=self._index)
                    transaction.put(at + key, b"", db=self._index)
                transaction.put(key, at + _encode(data), db=self._sessions)

    def load(self, ids: Iterable[Id]) -> list[dict[str, Any] | None]:
        found: list[dict[str, Any] | None] = []
        for id in ids:
            with self._env.begin(db=self._sessions) as transaction:
                value = transaction.get(bytes(id))
            found.append(None if value is None or _unpack_from(value)[0] <= time.time() else _decode(value[8:]))
        return found

    def delete(self, ids: Iterable[Id]) -> None:
        for id in ids:
            key = bytes(id)
            with self._env.begin(write=True) as transaction:
                old = transaction.pop(key, db=self._sessions)
                if old is not None:
                    transaction.delete(old[:8] + key, db=self._index)

    def sweep(self) -> int | None:
        stop, deleted = _pack(int(time.time())), 0
        with self._env.begin(write=True) as transaction:
            cursor = transaction.cursor(self._index)
            cursor.first()
            while (entry := cursor.key()) and entry[:8] < stop:  # the key is empty after the last entry
                transaction.delete(entry[8:], db=self._sessions)
                cursor.delete()
                deleted += 1
        return deleted

    def close(self) -> None:
        self._env.close()
