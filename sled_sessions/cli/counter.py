"""`sled-sessions counter`: the counter app on a real server."""

from datetime import timedelta
from pathlib import Path

import click

from sled_sessions import SledStore, SweepStrategy
from sled_sessions.cli.serve import serve, serving_options
from sled_sessions.examples.counter import make_app

_SECONDS = click.FloatRange(0, min_open=True)
_STRATEGIES = click.Choice([strategy.value for strategy in SweepStrategy])


@click.command()
@serving_options
@click.option(
    "--expiry", type=_SECONDS, default=10, show_default=True, help="Seconds without a request that end a session."
)
@click.option("--sweep-every", type=_SECONDS, default=60, show_default=True, help="Seconds between two sweeps.")
@click.option("--strategy", type=_STRATEGIES, default="index", show_default=True, help="How to find expired sessions.")
def command(path: Path, host: str, port: int, expiry: float, sweep_every: float, strategy: str) -> None:
    """Serve "Current count: N", counted in each visitor's session. Ctrl-C ends it, with everything on disk."""
    with SledStore.open(path, strategy=SweepStrategy(strategy)) as store:
        app = make_app(store, expiry=timedelta(seconds=expiry), sweep_every=timedelta(seconds=sweep_every))
        serve(app, host, port)


COMMANDS = {"counter": command}
