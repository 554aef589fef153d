"""What the tab key offers after one of the magics."""

from pathlib import Path
from typing import Any

from sled_sessions.notebook.magics import SessionMagics
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
        start = Path(event.symbol)
        folder, begun = (start, "") if event.symbol.endswith("/") else (start.parent, start.name)
        return sorted(f"{path}/" for path in folder.glob(f"{begun}*") if path.is_dir())
    return [name for name, value in shell.user_ns.items() if isinstance(value, SledStore | MemoryStore)] + options
