"""Litestar's FileStore."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
from litestar.stores.file import FileStore

from benchmarks.peers.base import AsyncPeer, Session
from sled_sessions import Id

_encode = msgspec.json.Encoder().encode  # as Litestar's session middleware does
_decode = msgspec.json.Decoder().decode


class LitestarPeer(AsyncPeer):
    """`litestar.stores.file.FileStore`."""

    name = "litestar-file"
    most = 10_000
    loses = "writes that the kernel still buffers"
    has_opening = False

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._store = FileStore(folder)

    def save(self, sessions: Iterable[Session], *, new: bool) -> None:
        async def save() -> None:
            for id, data, expiry in sessions:
                seconds = int(expiry.timestamp() - time.time())
                await self._store.set(bytes(id).hex(), _encode(data), expires_in=seconds)

        self._run(save())

    def load(self, ids: Iterable[Id]) -> list[dict[str, Any] | None]:
        async def load() -> list[dict[str, Any] | None]:
            found = [await self._store.get(bytes(id).hex()) for id in ids]
            return [None if value is None else _decode(value) for value in found]

        result: list[dict[str, Any] | None] = self._run(load())
        return result

    def update(self, sessions: Iterable[Session]) -> None:
        async def update() -> None:
            for id, data, expiry in sessions:
                key, seconds = bytes(id).hex(), int(expiry.timestamp() - time.time())
                value = await self._store.get(key)
                found = {} if value is None else _decode(value)
                await self._store.set(key, _encode({**found, **data}), expires_in=seconds)

        self._run(update())

    def delete(self, ids: Iterable[Id]) -> None:
        async def delete() -> None:
            for id in ids:
                await self._store.delete(bytes(id).hex())

        self._run(delete())

    def sweep(self) -> int | None:
        self._run(self._store.delete_expired())
        return None
