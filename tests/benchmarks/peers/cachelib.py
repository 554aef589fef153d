"""cachelib's files, which Flask-Session uses for its types "filesystem" and "cachelib"."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cachelib import FileSystemCache

from benchmarks.peers.base import Peer, Session
from sled_sessions import Id


class CachelibPeer(Peer):
    """`FileSystemCache` without a limit; it deletes expired entries only when it reaches a limit."""

    name = "cachelib"
    most = 10_000
    loses = "writes that the kernel still buffers"
    has_opening = False
    has_sweep = False

    def __init__(self, folder: Path) -> None:
        self._cache = FileSystemCache(str(folder), threshold=0)

    def save(self, sessions: Iterable[Session], *, new: bool) -> None:
        for id, data, expiry in sessions:
            self._cache.set(bytes(id).hex(), data, timeout=int(expiry.timestamp() - time.time()))

    def load(self, ids: Iterable[Id]) -> list[dict[str, Any] | None]:
        return [self._cache.get(bytes(id).hex()) for id in ids]

    def delete(self, ids: Iterable[Id]) -> None:
        for id in ids:
            self._cache.delete(bytes(id).hex())

    def close(self) -> None:
        pass  # every call opens and closes its file
