"""The interface of a peer."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

from sled_sessions import Id

Session: TypeAlias = tuple[Id, dict[str, Any], datetime]
"""A session's id, data and expiry."""


class Peer(ABC):
    """A session store, used as its documentation recommends.

    Args:
        folder: The folder for its files.

    Attributes:
        name: The name in the results and on the command line.
        most: The largest number of sessions to measure; filling more takes minutes.
        loses: What a power cut may lose.
        has_sweep: Whether it can delete expired sessions on demand.
        has_opening: Whether it opens anything before the first operation.
    """

    name: ClassVar[str]
    most: ClassVar[int]
    loses: ClassVar[str]
    has_sweep: ClassVar[bool] = True
    has_opening: ClassVar[bool] = True

    @abstractmethod
    def __init__(self, folder: Path) -> None: ...

    @abstractmethod
    def save(self, sessions: Iterable[Session], *, new: bool) -> None:
        """Store sessions one by one, either all new or all known."""

    @abstractmethod
    def load(self, ids: Iterable[Id]) -> list[dict[str, Any] | None]:
        """The data of each session; None or empty for one that is missing or has expired."""

    def update(self, sessions: Iterable[Session]) -> None:
        """Merge data into stored sessions one by one, as requests that change a session do."""
        for id, data, expiry in sessions:
            (found,) = self.load([id])
            self.save([(id, {**(found or {}), **data}, expiry)], new=False)

    @abstractmethod
    def delete(self, ids: Iterable[Id]) -> None:
        """Delete sessions one by one."""

    def sweep(self) -> int | None:
        """Delete expired sessions; returns their number, or None if the peer does not report it."""
        raise NotImplementedError

    @abstractmethod
    def close(self) -> None:
        """Close what is open."""


class AsyncPeer(Peer):
    """A peer with an asyncio interface: one event loop for all calls, which runs once for each batch."""

    def __init__(self, folder: Path) -> None:
        self._runner = asyncio.Runner()  # on an interrupt it cancels the running call, so none is left un-awaited

    def close(self) -> None:
        """Close the loop."""
        self._runner.close()

    def _run(self, calls: Coroutine[Any, Any, Any]) -> Any:
        return self._runner.run(calls)
