"""What the commands that serve an app share: their options, the import of an example, and the server."""

import importlib
import logging
import signal
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import click

from sled_sessions.cli import common

serving_options = common.together(
    click.option(
        "--path", type=common.LocalPath(path_type=Path), default="storage", help="The database; created if missing."
    ),
    click.option("--host", default="127.0.0.1", help="The address to listen on."),
    click.option("--port", type=click.IntRange(0, 65535), default=3000, help="0 picks a free port."),
)


def example(name: str) -> ModuleType:
    """Import an example, or end with one line that says how to install what it needs."""
    try:
        import uvicorn  # noqa: F401 - `serve` needs it

        return importlib.import_module(f"sled_sessions.examples.{name}")
    except ImportError as error:
        raise click.ClickException(f"{error}: pip install 'sled_sessions[web]'") from None


def serve(app: Any, host: str, port: int) -> None:
    """Run uvicorn until Ctrl-C or SIGTERM, with this package's log messages beside its own.

    uvicorn raises the signal again when it has stopped. The handler for SIGTERM makes it an exception, so that the
    store is closed.
    """
    import uvicorn

    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    logging.basicConfig(level=logging.INFO, format="%(levelname)s:     %(name)s: %(message)s")
    try:
        uvicorn.run(app, host=host, port=port)
    except SystemExit as ended:  # uvicorn exits with 3 when it cannot start; here 3 has another meaning
        raise SystemExit(1 if ended.code else 0) from None
