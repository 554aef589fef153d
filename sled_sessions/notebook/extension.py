"""Load the magics and their tab completion, for `%load_ext sled_sessions`."""

import os
import shlex
from contextlib import suppress
from glob import escape, glob
from typing import Any

from sled_sessions.notebook.magics import SessionMagics
from sled_sessions.notebook.opening import named_by_user
from sled_sessions.stores.memory import MemoryStore
from sled_sessions.stores.sled import SledStore


def load(shell: Any) -> None:
    """Register the magics and their completion with an IPython shell."""
    shell.register_magics(SessionMagics)
    for kind, names in SessionMagics.magics.items():
        prefix = {"line": "%", "cell": "%%"}[kind]
        for name in names:
            shell.set_hook("complete_command", _complete, str_key=prefix + name)


def _complete(shell: Any, event: Any) -> list[str]:
    """Completions for a magic's line: options, their choices, variables with a store, or `%sessions_open` folders."""
    magic = event.command.lstrip("%")
    parser = getattr(SessionMagics, magic).parser
    words = event.line[: len(event.line) - len(event.symbol)].split()
    if words[-1].startswith("-"):
        for action in parser._actions:
            if words[-1] in action.option_strings and action.nargs != 0:
                return list(action.choices or ())
    options = [option for action in parser._actions for option in action.option_strings]
    if event.symbol.startswith("-"):
        return options
    if magic == "sessions_open":
        return _folders(event.text_until_cursor, event.symbol)
    variables = named_by_user(shell.user_ns).items()
    return [name for name, value in variables if isinstance(value, SledStore | MemoryStore)] + options


def _folders(line: str, symbol: str) -> list[str]:
    """The folders whose path starts with the line's last word. IPython replaces `symbol` with each completion."""
    words, quote = [""], ""
    for quote in ("", "'", '"'):  # the quotation mark that the line has left open, if any
        with suppress(ValueError):
            words = shlex.split(line + quote)
            break
    start = os.path.expanduser("" if line[-1:].isspace() and not quote else words[-1])
    rests = [path[len(start) :] for path in sorted(glob(f"{escape(start)}*/"))]
    # Escape by quotes, which may start within a word: IPython takes a backslash for the start of a character's name.
    return [symbol + (rest if quote else shlex.quote(rest)) for rest in rests if not (quote and quote in rest)]
