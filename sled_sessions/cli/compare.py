"""`sled-sessions compare`: compare the sweep strategies on this machine."""

from datetime import timedelta
from pathlib import Path

import click

from sled_sessions.cli import common
from sled_sessions.cli.measuring import Sizes, plot_option, save
from sled_sessions.comparison import compare_sweeps
from sled_sessions.comparison.sweeps import FEWEST, RESOLUTIONS, SIZES


@click.command()
@click.option(
    "--sizes",
    type=Sizes(FEWEST),
    default=SIZES,
    help="Numbers of sessions, each measured in databases of its own. [default: 1000,10000,100000]",
)
@click.option(
    "--resolution",
    "resolutions",
    type=common.Duration(positive=True),
    metavar="TIME",
    multiple=True,
    default=RESOLUTIONS,
    help="A step of the index; may be repeated. [default: 1s, 1m]",
)
@click.option(
    "--expired",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.01,
    show_default=True,
    help="The share of the sessions that a sweep finds expired.",
)
@click.option(
    "--repeat", type=click.IntRange(1), default=5, show_default=True, help="Number of turns; the table shows medians."
)
@plot_option("the sweep times")
@common.json_option
def command(
    sizes: tuple[int, ...],
    resolutions: tuple[timedelta, ...],
    expired: float,
    repeat: int,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Measure saves, loads and sweeps with the expiry index and with full scans.

    The databases are temporary. All those of one size together take up to 2,500 bytes of disk per session. JSON has one
    object for each row of the table, with times in seconds and sizes in bytes.
    """
    with common.progress_bar("measuring") as progress:
        found = compare_sweeps(sizes, expired=expired, resolutions=resolutions, repeat=repeat, progress=progress)
    if as_json:
        for row in found.rows():
            common.print_json(row)
    else:
        click.echo(repr(found))
    save(found.plot, plot)
