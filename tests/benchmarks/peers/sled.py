"""The package itself, behind the interface of a peer."""

from collections.abc import Iterable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.peers.base import Peer, Session
from sled_sessions import Id, Record, SledStore


class SledPeer(Peer):
    """`SledStore` with its default options."""

    name = "sled_sessions"
    most = 10_000_000
    loses = 'half a second of writes, and writes that the kernel still buffers (durability="interval")'

    def __init__(self, folder: Path) -> None:
        self._store = SledStore.open(folder)

    def save(self, sessions: Iterable[Session], *, new: bool) -> None:
        for id, data, expiry in sessions:
            self._store.save(Record(id, data, expiry))

    def load(self, ids: Iterable[Id]) -> list[dict[str, Any] | None]:
        return [None if (record := self._store.load(id)) is None else record.data for id in ids]

    def update(self, sessions: Iterable[Session]) -> None:
        for id, data, expiry in sessions:
            self._store.update(id, partial(_changed, data, expiry))

    def delete(self, ids: Iterable[Id]) -> None:
        for id in ids:
            self._store.delete(id)

    def sweep(self) -> int | None:
        return self._store.delete_expired().deleted

    def close(self) -> None:
        self._store.close()


def _changed(data: dict[str, Any], expiry: datetime, record: Record) -> Record:
    return Record(record.id, {**record.data, **data}, expiry)
