"""The command `sled-sessions`. Each of its commands is a module of this folder, imported when it is called."""

import importlib
import sys


def main() -> None:
    """Run the command line."""
    try:
        import click
    except ImportError:
        sys.exit("sled-sessions needs its command-line parts: pip install 'sled_sessions[web]'")

    class Commands(click.Group):
        """The commands by the names of their modules, so that `--help` of one imports no other."""

        def list_commands(self, ctx: click.Context) -> list[str]:
            return sorted(_COMMANDS)

        def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
            if name not in _COMMANDS:
                return None
            command: click.Command = importlib.import_module(f"sled_sessions.cli.{name}").command
            return command

    Commands(help="Sessions in a sled database: run the examples, look at a database, keep it in order.")()


_COMMANDS = ("bench", "counter")
