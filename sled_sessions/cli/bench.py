"""`sled-sessions bench`: what the package costs on this machine."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import click

from sled_sessions.bench import run
from sled_sessions.bench.peers import NAMES
from sled_sessions.bench.run import DISK, FEWEST, PARTS, SIZES
from sled_sessions.cli.common import LocalPath, Sizes, megabytes, progress_bar
from sled_sessions.cli.plot import plot_option, save


class _Words(click.ParamType[tuple[str, ...]]):
    """Words with commas between them, out of those that there are."""

    name = "names"

    def __init__(self, words: tuple[str, ...]) -> None:
        self._words = words

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        if value == "all":
            return self._words
        chosen = () if value == "none" else tuple(word.strip() for word in value.split(","))
        for word in chosen:
            if word not in self._words:
                self.fail(f"{word!r} is none of {', '.join(self._words)}, all, none", param, ctx)
        return chosen


@click.command("bench")
@click.option("--sizes", type=Sizes(FEWEST), default=SIZES, help="Numbers of sessions. [default: 10000,100000,1000000]")
@click.option(
    "--peers",
    type=_Words(NAMES),
    default="all",
    show_default=True,
    help=f"What else to measure: {', '.join(NAMES)}; or none.",
)
@click.option(
    "--parts",
    type=_Words(tuple(PARTS)),
    default="all",
    show_default=True,
    help=f"What to measure: {', '.join(PARTS)}.",
)
@click.option("--repeat", type=click.IntRange(min=3), default=20, show_default=True, help="Turns of quick operations.")
@click.option(
    "--folder",
    type=LocalPath(file_okay=False, path_type=Path),
    help="Keep the databases here, and use those that are here. [default: temporary folders]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@plot_option("the ratios")
def command(
    sizes: tuple[int, ...],
    peers: tuple[str, ...],
    parts: tuple[str, ...],
    repeat: int,
    folder: Path | None,
    as_json: bool,
    plot: Path | None,
) -> None:
    """Measure the store beside the bare engine and beside its peers.

    Each figure is a median; each ratio is taken turn by turn, so that a busy machine slows both of its sides. The
    databases take up to 2,600 bytes of disk for each session. The targets are what the package sets itself, mostly how
    many times as long as the bare calls of sled an operation may take; it misses several.
    """
    measured = [part for part in parts if part != "peers" or peers]
    if not measured:
        raise click.UsageError("these --parts and --peers leave nothing to measure")
    if plot is not None and measured == ["peers"]:
        raise click.UsageError("--plot draws ratios to the bare engine, and --parts peers measures none")
    needed, free = max(sizes) * DISK, shutil.disk_usage(tempfile.gettempdir()).free
    if needed > free and set(measured) - {"redis"} and (folder is None or "peers" in measured):
        raise click.UsageError(
            f"{max(sizes):,} sessions need up to {megabytes(needed)} of disk, and {tempfile.gettempdir()} has "
            f"{megabytes(free)}; set TMPDIR to a folder that has more"
        )
    steps = len(sizes) * sum(PARTS[part] for part in measured)
    with progress_bar("starting") as bar:
        result = run(
            sizes, peers, parts=measured, repeat=repeat, folder=folder, watch=lambda done, what: bar(done, steps, what)
        )
    click.echo(result.to_json() if as_json else repr(result))
    save(result.plot, plot)
