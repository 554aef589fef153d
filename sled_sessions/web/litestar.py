"""Litestar: `Request.set_session` and `clear_session` put something else in the session's place in the scope."""

import enum
from collections.abc import Mapping
from typing import Any

from sled_sessions.errors import EncodeError
from sled_sessions.session import Session
from sled_sessions.session.shapes import to_data


def is_replaced(session: Session, found: object) -> bool:
    """Whether the app has put `found` in the place of its session.

    The session of another middleware around a mounted app, ours or Starlette's, is left to that one. Before Starlette
    1.0 that is a plain dict, which cannot be told from an app's.
    """
    return found is not session and not hasattr(found, "mark_accessed")


def take_over(session: Session, replacement: object) -> None:
    """Make what was put in the session's place its data; EncodeError, and no change, if a session cannot hold it."""
    checked = Session(lambda: None)  # refuses what a session cannot hold before the other one is emptied
    checked.update(plain_data(replacement))
    session.clear()
    session.update(checked)


def plain_data(replacement: object) -> Mapping[str, Any]:
    """A replacement's data, empty for None and Litestar's `Empty`; EncodeError if it has neither keys nor fields."""
    if replacement is None or isinstance(replacement, type | enum.Enum):  # `Empty` is one or the other, by version
        return {}
    try:
        data = replacement if isinstance(replacement, Mapping) else to_data(replacement)
    except EncodeError:
        data = replacement
    if not isinstance(data, Mapping):
        raise EncodeError(f"a session is a mapping, but {type(replacement).__name__} was put in its place")
    return data
