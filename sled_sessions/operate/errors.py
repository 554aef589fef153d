"""What can go wrong with a database as a whole."""

from sled_sessions.errors import SessionError


class OperationError(SessionError):
    """An operation on a database could not be done; the message says why, and what to do instead."""


class NoDatabase(OperationError):
    """There is no sled database at this path, or it lacks the tree that was asked for."""


class TargetExists(OperationError):
    """The file or folder to make is there already; nothing is ever written over."""


class ContentsDiffer(OperationError):
    """A copy was read back and is not what was written, or a backup file is damaged."""
