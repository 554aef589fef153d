"""`sled-sessions counter`."""

from datetime import timedelta
from pathlib import Path

import click

from sled_sessions import SledStore, SweepStrategy
from sled_sessions.cli import common
from sled_sessions.cli.serve import example, serve, serving_options


@click.command()
@serving_options
@click.option("--expiry", type=common.timespan, default="10s", help="How long a session lives without a request.")
@click.option("--sweep-every", type=common.timespan, default="60s", help="The time between two sweeps.")
@click.option("--strategy", type=common.strategies, default="index", help="How to find expired sessions.")
def command(path: Path, host: str, port: int, expiry: timedelta, sweep_every: timedelta, strategy: str) -> None:
    """Serve "Current count: N", counted in each visitor's session. Ctrl-C stops it, with everything on disk."""
    counter = example("counter")
    with SledStore.at(path, strategy=SweepStrategy(strategy)) as store:
        serve(counter.make_app(store, expiry=expiry, sweep_every=sweep_every), host, port)
