"""`sled-sessions example NAME`: the example apps on a real server."""

import importlib
from pathlib import Path

import click

from sled_sessions import SledStore
from sled_sessions.cli.serve import serve, serving_options

_EXAMPLES = ("counter", "login", "strongly-typed", "websocket")


@click.command()
@click.argument("name", type=click.Choice(_EXAMPLES))
@serving_options
def command(name: str, path: Path, host: str, port: int) -> None:
    """Serve one of the example apps, whose sources lie in sled_sessions/examples/."""
    example = importlib.import_module(f"sled_sessions.examples.{name.replace('-', '_')}")
    click.echo(example.__doc__)
    with SledStore.open(path) as store:
        serve(example.make_app(store), host, port)


COMMANDS = {"example": command}
