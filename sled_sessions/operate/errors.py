"""Errors of operations on whole databases."""

from sled_sessions.errors import SessionError


class OperationError(SessionError):
    """An operation on a database was refused or failed; the message says why, and what to do instead."""


class NoDatabase(OperationError):
    """There is no sled database at this path, or it does not have this tree."""


class TargetExists(OperationError):
    """The file or folder to create exists already; nothing is ever overwritten."""


class ContentsDiffer(OperationError):
    """A copy that was read back differs from what was written, or a backup file is damaged."""
