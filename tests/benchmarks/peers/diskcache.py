"""diskcache, a dictionary on SQLite and files."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import diskcache

from benchmarks.peers.base import Peer, Session
from sled_sessions import Id


class DiskcachePeer(Peer):
    """`diskcache.Cache` that evicts nothing and deletes expired entries only on demand."""

    name = "diskcache"
    most = 100_000
    loses = "the last commits (WAL, synchronous=NORMAL)"

    def __init__(self, folder: Path) -> None:
        self._cache = diskcache.Cache(str(folder), eviction_policy="none", cull_limit=0)

    def save(self, sessions: Iterable[Session], *, new: bool) -> None:
        for id, data, expiry in sessions:
            self._cache.set(bytes(id), data, expire=expiry.timestamp() - time.time())

    def load(self, ids: Iterable[Id]) -> list[dict[str, Any] | None]:
        return [self._cache.get(bytes(id)) for id in ids]

    def delete(self, ids: Iterable[Id]) -> None:
        for id in ids:
            self._cache.delete(bytes(id))

    def sweep(self) -> int | None:
        return int(self._cache.expire())

    def close(self) -> None:
        self._cache.close()
