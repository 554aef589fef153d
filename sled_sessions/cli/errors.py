"""Exceptions as a shell needs them: an exit code, and one line that says what is wrong and what to do.

The layers below do not know this program, so the commands that help are added here.
"""

import errno
import sys

from sled_sessions import BackendError, SessionError, sled
from sled_sessions.display.masking import printable

FAILED, LOCKED, DAMAGED = 1, 4, 5


def explain(error: Exception) -> tuple[int, str] | None:
    """The exit code and the message for an error; None for one that is a bug of this program."""
    if isinstance(error, BackendError) and isinstance(error.__cause__, sled.SledError):
        error = error.__cause__  # a store only passes it on
    if isinstance(error, sled.DatabaseLocked):
        return LOCKED, f"{error}. Stop that program first, or let it make a copy with sled_sessions.operate.backup"
    if isinstance(error, sled.Corruption):
        return DAMAGED, _with_commands(error, "sled-sessions restore, sled-sessions salvage")
    if isinstance(error, sled.ReportableBug):
        return DAMAGED, str(error)
    if isinstance(error, sled.Unsupported) and "written by sled 1.0" in str(error):
        return FAILED, _with_commands(error, "sled-sessions migrate OLD NEW --to 0.34")
    if isinstance(error, OSError):
        message = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
        if isinstance(error, sled.SledIOError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            message += ". sled writes to what it opens: make that folder writable, or use a copy in a writable one"
        return FAILED, message
    return (FAILED, str(error)) if isinstance(error, sled.SledError | SessionError) else None


def report(message: str) -> None:
    """Print a message on one line of stderr, with control characters escaped."""
    sys.stderr.write(f"sled-sessions: {printable(' '.join(message.split()))}\n")


def _with_commands(error: Exception, commands: str) -> str:
    return str(error) if "sled-sessions" in str(error) else f"{error} (commands: {commands})"
