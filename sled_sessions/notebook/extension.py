"""Load the magics, for `%load_ext sled_sessions`."""

from typing import Any

from sled_sessions.notebook.completion import complete
from sled_sessions.notebook.magics import SessionMagics


def load(shell: Any) -> None:
    """Register the magics and their completion with an IPython shell."""
    shell.register_magics(SessionMagics)
    for kind, names in SessionMagics.magics.items():
        prefix = {"line": "%", "cell": "%%"}[kind]
        for name in names:
            shell.set_hook("complete_command", complete, str_key=prefix + name)
