"""`sled-sessions example`."""

from pathlib import Path

import click

from sled_sessions import SledStore
from sled_sessions.cli.serve import example, serve, serving_options

_EXAMPLES = ("counter", "login", "strongly-typed", "websocket")


@click.command()
@click.argument("name", type=click.Choice(_EXAMPLES))
@serving_options
def command(name: str, path: Path, host: str, port: int) -> None:
    """Serve one of the example apps, whose sources are in sled_sessions/examples."""
    module = example(name.replace("-", "_"))
    click.echo(module.__doc__)
    with SledStore.at(path) as store:
        serve(module.make_app(store), host, port)
