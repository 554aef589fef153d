"""What a session is made of besides its data: a dict whose every operation is Python's, and two helpers."""

from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    SessionDict = dict[str, Any]  # to a type checker, every dict is a MutableMapping
else:

    class SessionDict(MutableMapping, dict):
        """A dict whose operations all go through the few methods that `MutableMapping` needs."""

        __slots__ = ()


class NotLoaded:
    """Placeholder that makes raw dict access fail until the session is loaded."""


NOT_LOADED = NotLoaded()


class Ignored:
    """A property of a session whose assignment has no effect."""

    def __init__(self, read: Callable[[Any], bool]) -> None:
        self._read = read

    def __get__(self, session: Any, _: type) -> bool:
        return session is not None and self._read(session)

    def __set__(self, session: Any, value: bool) -> None:
        pass
