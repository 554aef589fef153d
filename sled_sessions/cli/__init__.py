"""The command `sled-sessions`: parses arguments, calls the package's public functions, and prints.

Each command is in the module of its name (or `import_`, `list_`), which is imported when the command is called.
`common` and `serve` hold what several commands share; `errors` turns exceptions into exit codes and messages.

Exit codes, for scripts: 0 done; 1 failed; 2 wrong usage; 3 checked and found something wrong, or searched and found
nothing; 4 another process has the database open; 5 the database is damaged; 130 interrupted.
"""

import importlib
import io
import os
import sys
from typing import Any

_SECTIONS = {
    "Inspect": {
        "stats": "Show how much is stored, its share of the file, and how much has expired.",
        "list": "List sessions, filtered and in pages.",
        "show": "Show one session.",
    },
    "Maintain": {
        "delete": "End sessions.",
        "sweep": "Delete the expired sessions.",
        "verify": "Check that everything can be read and that the expiry index is right.",
        "reindex": "Rebuild the expiry index.",
    },
    "Copy": {
        "export": "Write sessions as JSON Lines.",
        "import": "Read sessions from JSON Lines.",
        "copy": "Copy live sessions between databases, servers and files.",
        "backup": "Save a whole database in one file.",
        "restore": "Create a database from a backup.",
        "compact": "Copy a database without the space of deleted data.",
        "migrate": "Copy a database into another format of sled.",
        "salvage": "Copy what can still be read of a damaged database.",
    },
    "Try out": {
        "counter": "Serve the counter app.",
        "example": "Serve an example app.",
        "compare": "Compare the sweep strategies.",
    },
}
_COMMANDS = [name for section in _SECTIONS.values() for name in section]
_MODULES = {"import": "import_", "list": "list_"}  # a keyword, and the builtin, which a submodule would hide here


def main() -> None:
    """Run the command line."""
    _replace_closed_files()
    for file in (sys.stdout, sys.stderr):
        if isinstance(file, io.TextIOWrapper):
            file.reconfigure(errors="backslashreplace")  # for characters that the terminal's encoding lacks
    try:
        import click
        import rich  # noqa: F401 - the commands print with it
    except ImportError:
        sys.exit("sled-sessions needs its command-line dependencies: pip install 'sled_sessions[cli]'")

    class Commands(click.Group):
        """Imports a command's module only when that command is called, so that the overview is fast."""

        def list_commands(self, ctx: click.Context) -> list[str]:
            return _COMMANDS

        def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
            command: click.Command | None = None
            if name in _COMMANDS:
                try:
                    importlib.import_module("sled_sessions.sled")
                except ImportError as error:  # also the error report would import it
                    sys.exit(f"sled-sessions: {error}")
                command = importlib.import_module(f"sled_sessions.cli.{_MODULES.get(name, name)}").command
            return command

        def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
            for title, section in _SECTIONS.items():
                with formatter.section(title):
                    formatter.write_dl(list(section.items()), col_max=10)

    group = Commands(
        name="sled-sessions",
        help="Inspect, maintain and copy sessions in sled databases.",
        epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 found something wrong or nothing, 4 database is open "
        "elsewhere, 5 database is damaged, 130 interrupted.",
        context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
    )
    click.version_option(package_name="sled_sessions", message="%(version)s")(group)
    sys.exit(_run(group))


def _replace_closed_files() -> None:
    """Open `/dev/null` for each standard file that the shell has closed (`>&-`).

    Otherwise the next file to be opened, one of a database, would get its number, and be written to as standard output.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115 - stays open until the process ends


def _run(group: Any) -> int:
    """Call the command and return the exit code."""
    try:
        code = group.main(prog_name="sled-sessions", standalone_mode=False)
    except (Exception, KeyboardInterrupt) as error:
        from sled_sessions.cli.errors import report

        code = report(error)
        if code is None:
            raise
    return code if isinstance(code, int) else 0
