"""What the tab key offers after one of the magics."""

import os
import shlex
from contextlib import suppress
from glob import escape, glob
from typing import Any

from sled_sessions.notebook.magics import SessionMagics, named_by_user
from sled_sessions.stores.memory import MemoryStore
from sled_sessions.stores.sled import SledStore


def complete(shell: Any, event: Any) -> list[str]:
    """The options of the magic and their choices; the stores that have a name, or folders for `%sessions_open`."""
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
    return [
        name for name, value in named_by_user(shell).items() if isinstance(value, SledStore | MemoryStore)
    ] + options


def _folders(line: str, symbol: str) -> list[str]:
    """The folders whose paths begin as the last word of a line, as a shell reads it; `symbol` is what they replace."""
    words, quote = [""], ""
    for quote in ("", "'", '"'):  # one of which the line may have opened
        with suppress(ValueError):
            words = shlex.split(line + quote)
            break
    begun = os.path.expanduser("" if line[-1:].isspace() and not quote else words[-1])
    rests = [path[len(begun) :] for path in sorted(glob(f"{escape(begun)}*/"))]
    # Quotes may begin anywhere in a word. With backslashes IPython would take it for the name of a character.
    return [symbol + (rest if quote else shlex.quote(rest)) for rest in rests if not (quote and quote in rest)]
