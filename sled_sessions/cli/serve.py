"""What the commands that serve an app have in common."""

import importlib
import logging
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import click

from sled_sessions.cli.common import LocalPath

_F = TypeVar("_F", bound=Callable[..., Any])


def serving_options(function: _F) -> _F:
    """The options `--path`, `--host` and `--port`."""
    for option in (
        click.option(
            "--port", type=click.IntRange(0, 65535), default=3000, show_default=True, help="0 picks a free one."
        ),
        click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on."),
        click.option(
            "--path",
            type=LocalPath(path_type=Path),
            default="storage",
            show_default=True,
            help="The database folder; made if missing.",
        ),
    ):
        function = option(function)
    return function


def example(name: str) -> ModuleType:
    """The module of an example, or one line that says how to get what it needs."""
    try:
        import uvicorn  # noqa: F401 - it is going to serve

        return importlib.import_module(f"sled_sessions.examples.{name}")
    except ImportError as error:
        raise click.ClickException(f"{error}: pip install 'sled_sessions[web]'") from None


def serve(app: Any, host: str, port: int) -> None:
    """Run a real server until Ctrl-C or SIGTERM, with this package's log beside the server's own.

    The server raises the signal again when it has stopped; that must end this process by way of `close`.
    """
    import uvicorn

    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    logging.basicConfig(level=logging.INFO, format="%(levelname)s:     %(name)s: %(message)s")
    try:
        uvicorn.run(app, host=host, port=port)
    except SystemExit as ended:  # with 3 when it could not start: a number that says something else here
        raise SystemExit(1 if ended.code else 0) from None
