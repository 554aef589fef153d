"""`sled-sessions counter`: the counter app on a real server."""

import logging
from datetime import timedelta
from pathlib import Path

import click
import uvicorn

from sled_sessions import SledStore, SweepStrategy
from sled_sessions.examples.counter import make_app

STRATEGIES = click.Choice([strategy.value for strategy in SweepStrategy])


@click.command()
@click.option(
    "--path",
    type=click.Path(path_type=Path),
    default="storage",
    show_default=True,
    help="The database folder; made if missing.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=3000,
    show_default=True,
    help="The port to listen on; 0 picks a free one.",
)
@click.option(
    "--expiry",
    type=click.FloatRange(0, min_open=True),
    default=10,
    show_default=True,
    metavar="SECONDS",
    help="End a session after so long without a request.",
)
@click.option(
    "--sweep-every",
    type=click.FloatRange(0, min_open=True),
    default=60,
    show_default=True,
    metavar="SECONDS",
    help="Delete expired sessions this often.",
)
@click.option("--strategy", type=STRATEGIES, default="index", show_default=True, help="How to find expired sessions.")
def command(path: Path, host: str, port: int, expiry: float, sweep_every: float, strategy: str) -> None:
    """Serve "Current count: N", which each visitor's session counts. Ctrl-C ends it, with everything on disk."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s:     %(name)s: %(message)s")
    with SledStore.open(path, strategy=SweepStrategy(strategy)) as store:
        app = make_app(store, expiry=timedelta(seconds=expiry), sweep_every=timedelta(seconds=sweep_every))
        uvicorn.run(app, host=host, port=port)
