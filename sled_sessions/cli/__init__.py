"""The command `sled-sessions`: parses, calls what the package has for everybody, and prints.

Exit codes, for scripts: 0 done; 1 failed; 2 used wrongly; 3 looked and found something wrong, or found no such
session; 4 another process has the database open; 5 the database is damaged; 130 interrupted.
"""

import errno
import importlib
import io
import os
import sys
from typing import Any

_SECTIONS = {
    "Look": {
        "stats": ("look.stats", "Show how much is stored, how much of the file that is, and what has expired."),
        "list": ("look.list_sessions", "List sessions, filtered and a page at a time."),
        "show": ("look.show", "Show one session."),
    },
    "Keep in order": {
        "delete": ("keep.delete", "End sessions."),
        "sweep": ("keep.sweep", "Delete the expired sessions."),
        "verify": ("keep.verify", "Check that everything can be read and the expiry index is right."),
        "reindex": ("keep.reindex", "Build the expiry index anew."),
    },
    "Move": {
        "export": ("move.export_sessions", "Write sessions as JSON Lines."),
        "import": ("move.import_sessions", "Read sessions from JSON Lines."),
        "copy": ("copy.command", "Copy live sessions between databases, servers and files."),
        "backup": ("move.backup", "Save a whole database in one file."),
        "restore": ("move.restore", "Make a database of a backup."),
        "compact": ("move.compact", "Copy a database without the space of deleted data."),
        "migrate": ("move.migrate", "Copy a database into another format of sled."),
        "salvage": ("move.salvage", "Copy what can still be read of a damaged database."),
    },
    "Try": {
        "counter": ("counter.command", "Serve the counter app."),
        "example": ("example.command", "Run an example."),
        "compare": ("compare.command", "Compare the sweep strategies."),
    },
}
_COMMANDS = {name: entry for section in _SECTIONS.values() for name, entry in section.items()}


def main() -> None:
    """Run the command line."""
    _fill_standard_files()
    for file in (sys.stdout, sys.stderr):
        if isinstance(file, io.TextIOWrapper):
            file.reconfigure(errors="backslashreplace")  # what the terminal's encoding lacks
    try:
        import click
        import rich  # noqa: F401 - the commands print with it
    except ImportError:
        sys.exit("sled-sessions needs its command-line parts: pip install 'sled_sessions[cli]'")

    class Commands(click.Group):
        """The commands by their names; the module of one is imported when it is called, and for no other's help."""

        def list_commands(self, ctx: click.Context) -> list[str]:
            return list(_COMMANDS)

        def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
            if name not in _COMMANDS:
                return None
            module, _, function = _COMMANDS[name][0].partition(".")
            command: click.Command = getattr(importlib.import_module(f"sled_sessions.cli.{module}"), function)
            return command

        def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
            for title, section in _SECTIONS.items():
                with formatter.section(title):
                    formatter.write_dl([(name, text) for name, (_, text) in section.items()], col_max=10)

    group = Commands(
        name="sled-sessions",
        help="Sessions in a sled database: look at them, keep them in order, move them, try things out.",
        epilog="Exit codes: 0 done, 1 failed, 2 used wrongly, 3 found something wrong or nothing, 4 database is open "
        "elsewhere, 5 database is damaged, 130 interrupted.",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    click.version_option(package_name="sled_sessions", message="%(version)s")(group)
    sys.exit(_run(group))


def _fill_standard_files() -> None:
    """Open `/dev/null` where the shell has closed one (`>&-`): the next file, a database's, would be in its place."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free, which is this one
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115 - for as long as this runs


def _run(group: Any) -> int:
    """Call the command that was asked for, and tell errors in one line."""
    import click

    try:
        answer = group.main(prog_name="sled-sessions", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt) as error:
        return _fail(f"interrupted: {error}" if str(error) else "interrupted", 130)
    except Exception as error:
        told = _engines(error)
        code = _code_of(told)
        if code is None:
            raise
        return _fail(_words_of(told), code)
    return answer if isinstance(answer, int) else 0


def _engines(error: BaseException) -> BaseException:
    """The error of the engine that a store has passed on; any other as it is."""
    from sled_sessions import BackendError, sled

    cause = error.__cause__
    return cause if isinstance(error, BackendError) and isinstance(cause, sled.SledError) else error


def _code_of(error: BaseException) -> int | None:
    """The exit code of an error that a user may meet; None for those that are bugs."""
    from sled_sessions import SessionError, sled

    if isinstance(error, sled.DatabaseLocked):
        return 4
    if isinstance(error, sled.Corruption | sled.ReportableBug):
        return 5
    return 1 if isinstance(error, sled.SledError | SessionError | OSError) else None


def _words_of(error: BaseException) -> str:
    """An error in words: what it is of, and what to do about it."""
    from sled_sessions import sled

    words = str(error)
    if isinstance(error, OSError) and error.filename and error.strerror:
        words = f"{error.filename}: {error.strerror}"
    if isinstance(error, sled.DatabaseLocked):
        words += ". Stop that program first, or let it make a copy with sled_sessions.operate.backup"
    if isinstance(error, sled.Corruption):
        words += " (commands: sled-sessions restore, sled-sessions salvage)"
    if isinstance(error, sled.Unsupported) and "written by sled 1.0" in words:
        words += " (command: sled-sessions migrate OLD NEW --to 0.34)"
    if isinstance(error, sled.SledIOError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        words += ". sled writes to what it opens: make that folder writable, or use a copy where you may write"
    return words


def _fail(message: str, code: int) -> int:
    from sled_sessions.display.masking import printable

    sys.stderr.write(f"sled-sessions: {printable(' '.join(message.split()))}\n")
    return code
