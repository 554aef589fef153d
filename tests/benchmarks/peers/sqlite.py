"""sqlite3 of the standard library."""

import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.peers.base import Peer, Session
from sled_sessions import Id

_SAVE = (
    "INSERT INTO session VALUES (?, ?, ?) "
    "ON CONFLICT (id) DO UPDATE SET value = excluded.value, expiry = excluded.expiry"
)
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


class SqlitePeer(Peer):
    """A table with an index on the expiry, in WAL mode, with a commit for each write."""

    name = "sqlite3"
    most = 1_000_000
    loses = "the last commits (WAL, synchronous=NORMAL)"

    def __init__(self, folder: Path) -> None:
        self._connection = sqlite3.connect(folder / "sessions.sqlite", isolation_level=None)
        self._connection.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -1048576;"
            "CREATE TABLE IF NOT EXISTS session (id BLOB PRIMARY KEY, value BLOB, expiry REAL) WITHOUT ROWID;"
            "CREATE INDEX IF NOT EXISTS session_expiry ON session (expiry);"
        )

    def save(self, sessions: Iterable[Session], *, new: bool) -> None:
        execute = self._connection.execute
        for id, data, expiry in sessions:
            execute(_SAVE, (bytes(id), _encode(data), expiry.timestamp()))

    def load(self, ids: Iterable[Id]) -> list[dict[str, Any] | None]:
        execute = self._connection.execute
        rows = (
            execute("SELECT value FROM session WHERE id = ? AND expiry > ?", (bytes(id), time.time())).fetchone()
            for id in ids
        )
        return [None if row is None else _decode(row[0]) for row in rows]

    def delete(self, ids: Iterable[Id]) -> None:
        for id in ids:
            self._connection.execute("DELETE FROM session WHERE id = ?", (bytes(id),))

    def sweep(self) -> int | None:
        return self._connection.execute("DELETE FROM session WHERE expiry <= ?", (time.time(),)).rowcount

    def close(self) -> None:
        self._connection.close()
