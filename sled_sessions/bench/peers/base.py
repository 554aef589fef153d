"""What a peer has to answer: the same questions as the store."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

from sled_sessions import Id

Session: TypeAlias = tuple[Id, dict[str, Any], datetime]
"""A session as it is given to a peer: its id, its data, when it expires."""


class Peer(ABC):
    """Something else that keeps sessions, used as its documentation says.

    Args:
        folder: The folder for its files.

    Attributes:
        name: As in the results and on the command line.
        most: No more sessions than so many, or filling it takes minutes.
        loses: What a power cut may cost.
        has_sweep: Whether it can be told to delete what has expired.
        has_opening: Whether it opens anything before its first call.
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
        """Store sessions, one by one; all of them new, or all known."""

    @abstractmethod
    def load(self, ids: Iterable[Id]) -> list[dict[str, Any] | None]:
        """The data of live sessions."""

    def update(self, sessions: Iterable[Session]) -> None:
        """Read sessions and write them back with this data on top, one by one: as a request does that changes one."""
        for id, data, expiry in sessions:
            (found,) = self.load([id])
            self.save([(id, {**(found or {}), **data}, expiry)], new=False)

    @abstractmethod
    def delete(self, ids: Iterable[Id]) -> None:
        """Remove sessions, one by one."""

    def sweep(self) -> int | None:
        """Delete what has expired; returns how many that were, if it says so."""
        raise NotImplementedError

    @abstractmethod
    def close(self) -> None:
        """Free what is open."""


class AsyncPeer(Peer):
    """A peer that is awaited: one event loop for all its calls, and one run of it for each batch."""

    def __init__(self, folder: Path) -> None:
        self._runner = asyncio.Runner()  # which an interrupt leaves without a call that nobody awaits any more

    def close(self) -> None:
        """Close the loop."""
        self._runner.close()

    def _run(self, calls: Coroutine[Any, Any, Any]) -> Any:
        return self._runner.run(calls)
