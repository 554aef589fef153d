"""Exceptions as a shell needs them: an exit code, and one line that says what is wrong and which command helps."""

import errno
import sys

import click

from sled_sessions import BackendError, SessionError, sled
from sled_sessions.display.masking import printable

FAILED, LOCKED, DAMAGED, INTERRUPTED = 1, 4, 5, 130


def report(error: BaseException) -> int | None:
    """Print the error and return the exit code; None for a bug of this program, which needs its traceback."""
    if isinstance(error, click.ClickException):
        error.show()
        return error.exit_code
    explained = explain(error)
    if explained is None:
        return None
    code, message = explained
    sys.stderr.write(f"sled-sessions: {printable(' '.join(message.split()))}\n")
    return code


def explain(error: BaseException) -> tuple[int, str] | None:
    """The exit code and the message for an error; None for a bug of this program."""
    if isinstance(error, BackendError) and isinstance(error.__cause__, sled.SledError):
        error = error.__cause__  # a store only passes it on
    message = str(error)
    match error:
        case click.Abort() | KeyboardInterrupt():
            return INTERRUPTED, f"interrupted: {message}" if message else "interrupted"
        case sled.DatabaseLocked():
            code = LOCKED
        case sled.Corruption() | sled.ReportableBug():
            code = DAMAGED
        case sled.SledError() | SessionError() | OSError():
            code = FAILED
        case _:
            return None
    if isinstance(error, OSError) and error.filename and error.strerror:
        message = f"{error.filename}: {error.strerror}"
    return code, message + _cure(error, message)


def _cure(error: BaseException, message: str) -> str:
    """What to do, as the end of the message; empty if that is unknown."""
    if isinstance(error, sled.DatabaseLocked):
        return ". Stop that program first, or let it make a copy with sled_sessions.operate.backup"
    if isinstance(error, sled.SledIOError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return ". sled writes to what it opens: make that folder writable, or use a copy in a writable one"
    if isinstance(error, sled.Corruption) and " is damaged" in message:
        is_of_1_0 = message.endswith("Restore a backup")  # nothing can be salvaged from a folder of sled 1.0
        return f" (sled-sessions restore{'' if is_of_1_0 else ', else sled-sessions salvage'})"
    if isinstance(error, sled.Unsupported):
        folder, found, _ = message.partition(" was written by sled 1.0")
        return f" (sled-sessions migrate {folder} NEW --to 0.34)" if found else ""
    return ""
