"""The command line of the benchmarks."""

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import click

from benchmarks.peers import NAMES
from benchmarks.run import DISK, FEWEST, PARTS, SIZES, run
from sled_sessions import SessionError, sled
from sled_sessions.cli.common import LocalPath, progress_bar
from sled_sessions.cli.compare import Sizes, plot_option, save

_WITHOUT_DATABASE = {"calls", "shapes", "redis"}
_WITHOUT_RATIOS = {"calls", "peers"}


class _Words(click.ParamType[tuple[str, ...]]):
    """Comma-separated words from a given list; also `all` and `none`."""

    name = "names"

    def __init__(self, words: tuple[str, ...]) -> None:
        self._words = words

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Read what the user typed."""
        if isinstance(value, tuple):
            return value
        if value == "all":
            return self._words
        chosen = () if value == "none" else tuple(word.strip() for word in value.split(","))
        for word in chosen:
            if word not in self._words:
                self.fail(f"{word!r} is not one of {', '.join(self._words)}, all, none", param, ctx)
        return chosen


@click.command("benchmarks", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--sizes", type=Sizes(FEWEST), default=SIZES, help="Numbers of sessions. [default: 10000,100000,1000000]")
@click.option(
    "--peers",
    type=_Words(NAMES),
    default="all",
    show_default=True,
    help=f"Other session stores to measure: {', '.join(NAMES)}; or none.",
)
@click.option(
    "--parts",
    type=_Words(tuple(PARTS)),
    default="all",
    show_default=True,
    help=f"What to measure: {', '.join(PARTS)}.",
)
@click.option(
    "--repeat", type=click.IntRange(min=3), default=20, show_default=True, help="Turns for the quickest operations."
)
@click.option(
    "--folder",
    type=LocalPath(file_okay=False, path_type=Path),
    help="Keep the databases in this folder, and use those that are in it. [default: temporary folders]",
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
    """Measure the store beside the bare engine and beside other session stores.

    Each figure is a median. Each ratio is taken turn by turn, so that a busy machine slows both of its sides. The
    databases take up to 2,600 bytes of disk per session. The targets are limits that the package sets itself, mostly
    how many times as long as the bare calls of sled an operation may take; several of them are missed.
    """
    measured = [part for part in parts if part != "peers" or peers]
    if not measured:
        raise click.UsageError("these --parts and --peers leave nothing to measure")
    if plot is not None and not set(measured) - _WITHOUT_RATIOS:
        raise click.UsageError(f"--plot draws ratios, and --parts {','.join(measured)} measures none")
    needed, free = max(sizes) * DISK, shutil.disk_usage(tempfile.gettempdir()).free
    if needed > free and set(measured) - _WITHOUT_DATABASE and (folder is None or "peers" in measured):
        raise click.UsageError(
            f"{max(sizes):,} sessions need up to {needed / 1e6:,.1f} MB of disk, and {tempfile.gettempdir()} has "
            f"{free / 1e6:,.1f} MB; set TMPDIR to a folder that has more"
        )
    steps = len(sizes) * sum(PARTS[part] for part in measured)
    with progress_bar("starting") as bar:
        result = run(
            sizes, peers, parts=measured, repeat=repeat, folder=folder, watch=lambda done, what: bar(done, steps, what)
        )
    click.echo(result.to_json() if as_json else repr(result))
    save(result.plot, plot)


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 failed, 2 usage error, 130 interrupted."""
    try:
        command.main(prog_name="python tests/benchmarks", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.stderr.write("benchmarks: interrupted\n")
        sys.exit(130)
    except (OSError, sled.SledError, SessionError) as error:
        message = str(error)
        if isinstance(error, OSError) and error.filename and error.strerror:
            message = f"{error.filename}: {error.strerror}"
        sys.exit(f"benchmarks: {message}")
