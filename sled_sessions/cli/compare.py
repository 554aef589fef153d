"""`sled-sessions compare`: compare the sweep strategies on this machine."""

import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sled_sessions.cli import common
from sled_sessions.comparison import compare_sweeps
from sled_sessions.comparison.sweeps import FEWEST, SIZES
from sled_sessions.operate import appearing_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes

_MOST = 1_000_000_000
_SIZES = ",".join(map(str, SIZES))
_SHARE = click.FloatRange(0, 1, min_open=True)


class Sizes(click.ParamType[tuple[int, ...]]):
    """Numbers of sessions separated by commas, none below a minimum; duplicates are dropped."""

    name = "numbers"

    def __init__(self, fewest: int) -> None:
        self._fewest = fewest

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Parse the argument."""
        if isinstance(value, tuple):
            return value
        try:
            sizes = tuple(dict.fromkeys(int(word.replace("_", "")) for word in str(value).split(",")))
        except ValueError:
            self.fail(f"{value!r} is not a list of numbers such as 10000,100000", param, ctx)
        if min(sizes) < self._fewest:
            self.fail(f"fewer than {self._fewest} sessions show nothing", param, ctx)
        if max(sizes) > _MOST:
            self.fail(f"more than {_MOST:,} sessions take days", param, ctx)
        return sizes


class _PlotFile(click.Path):
    """A file to draw into; checked before minutes of measuring, not after them."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        try:
            from matplotlib.backends.backend_agg import FigureCanvasAgg
        except ImportError:
            self.fail("plots need matplotlib: pip install 'sled_sessions[notebook]'", param, ctx)
        kinds = FigureCanvasAgg.get_supported_filetypes()
        if path.suffix[1:] not in kinds:
            self.fail(f"{str(path)!r} does not end in one of {', '.join(sorted(kinds))}", param, ctx)
        if not path.parent.is_dir():
            self.fail(f"there is no folder {str(path.parent)!r}", param, ctx)
        return path


def plot_option(what: str) -> common.Decorator:
    """The option `--plot`; the command gets a path, or None."""
    return click.option("--plot", type=_PlotFile(dir_okay=False, writable=True), help=f"Draw {what} into this file.")


def save(plot: "Callable[[], Axes]", path: Path | None) -> None:
    """Draw into the file, if one is given, without a window."""
    if path is not None:
        import matplotlib as mpl

        mpl.use("agg")
        if figure := plot().get_figure(root=True):
            with appearing_file(path, replace=True) as file:
                figure.savefig(file, format=path.suffix[1:])


@click.command()
@click.option("--sizes", type=Sizes(FEWEST), default=_SIZES, help="Numbers of sessions, each in its own databases.")
@click.option(
    "--resolution",
    "resolutions",
    type=common.timespan,
    multiple=True,
    default=("1s", "1m"),
    help="A step of the index; may be repeated.",
)
@click.option("--expired", type=_SHARE, default=0.01, help="The share of the sessions that a sweep finds expired.")
@click.option("--repeat", type=click.IntRange(1), default=5, help="Number of turns; the table shows medians.")
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
