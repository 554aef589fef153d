"""The command line of the soak."""

import json
import re
import sys
import tempfile
from contextlib import redirect_stdout
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any, get_args

import click

from benchmarks.soak.churn import Options
from benchmarks.soak.process import ChurnFailed
from benchmarks.soak.run import Line, soak
from sled_sessions import SessionError, sled
from sled_sessions.cli.common import Decorator, LocalPath, print_table, progress_bar, timespan, together
from sled_sessions.display import text
from sled_sessions.stores.sled.durability import Durability
from sled_sessions.stores.sled.opening import FLUSH_EVERY_MS

_LEAST, _MOST = 100, 64 * 1024


class ByteRange(click.ParamType[tuple[int, int]]):
    """A number of bytes such as 300, or a range of them such as 9000-60000."""

    name = "bytes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Parse the argument."""
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"(\d+)(?:-(\d+))?", value)
        if found is None:
            self.fail(f"{value!r} is neither a number nor a range such as 9000-60000", param, ctx)
        low, high = int(found[1]), int(found[2] or found[1])
        if not _LEAST <= low <= high <= _MOST:
            self.fail(f"records must have from {_LEAST} to {_MOST:,} bytes, the smaller number first", param, ctx)
        return low, high


churn_options: Decorator = together(
    click.option("--live", type=click.IntRange(min=100), default=10_000, show_default=True, help="Live sessions."),
    click.option("--threads", type=click.IntRange(min=1), default=4, show_default=True, help="Threads that write."),
    click.option("--rate", type=click.IntRange(min=1), help="The most operations per second. [default: no limit]"),
    click.option("--segment-size", type=int, help="sled's option, for a new database. [default: 524288]"),
)
size_option = click.option(
    "--size", type=ByteRange(), default="300", show_default=True, help="Bytes of a record, or a range: 9000-60000."
)
durability_option = click.option(
    "--durability", type=click.Choice(get_args(Durability)), default="interval", show_default=True
)
folder_option = click.option(
    "--folder",
    type=LocalPath(exists=False, path_type=Path),
    help="A new folder for the database, which is then kept. [default: a temporary one]",
)


@click.command("soak", context_settings={"help_option_names": ["-h", "--help"]})
@size_option
@click.option("--operations", type=click.IntRange(min=1), help="Stop after this number of operations.")
@click.option("--duration", type=timespan, help="Stop after this time, such as 30s or 2h. [default: 1m]")
@durability_option
@churn_options
@click.option(
    "--flush-every-ms", type=click.IntRange(min=1), default=FLUSH_EVERY_MS, show_default=True, help="sled's option."
)
@click.option("--sweep", type=timespan, default="1s", show_default=True, help="Time between sweeps.")
@click.option("--every", type=timespan, default="10s", show_default=True, help="Time between lines of JSON.")
@folder_option
def command(
    size: tuple[int, int],
    operations: int | None,
    duration: timedelta | None,
    durability: Durability,
    live: int,
    threads: int,
    rate: int | None,
    segment_size: int | None,
    flush_every_ms: int,
    sweep: timedelta,
    every: timedelta,
    folder: Path | None,
) -> None:
    """Churn a store of sessions, kill it, and check that a new process finds what was acknowledged.

    Visitors create, load, update, save and delete sessions, which expire by a clock that moves with the operations: a
    session gets three on average within its lifetime. Prints a line of JSON every ten seconds, and a table on stderr at
    the end. Sizes are in bytes; `blobs` are the files of large pages.

    Exit codes: 0, 1 for a failure, 3 if an acknowledged write is missing.
    """
    if operations is None and duration is None:
        duration = timedelta(minutes=1)
    if folder is not None and folder.exists():
        raise click.UsageError(f"{str(folder)!r} exists; the soak makes a new folder")
    with tempfile.TemporaryDirectory(prefix="sled_sessions-") as temporary:
        options = Options(
            folder=str(folder or Path(temporary, "storage")),
            ledger=str(Path(temporary, "ledger")),
            live=live,
            low=size[0],
            high=size[1],
            threads=threads,
            rate=rate,
            durability=durability,
            segment_size=segment_size,
            flush_every_ms=flush_every_ms,
            sweep=sweep.total_seconds(),
            every=every.total_seconds(),
        )
        with progress_bar("churning") as bar:
            lines = []
            for line in soak(options, operations, duration, bar):
                click.echo(json.dumps(line))
                lines.append(line)
        with redirect_stdout(sys.stderr):
            _print_table(lines)
    if lines[-1]["wrong"]:
        sys.exit(3)


def _print_table(lines: list[Line]) -> None:
    """The run in four parts, each with its largest size, and the files after the kill."""
    *lines, last = lines
    rows = []
    for part in range(4):
        if own := lines[len(lines) * part // 4 : len(lines) * (part + 1) // 4]:
            most = {key: max(line[key] for line in own) for key in own[0]}
            rate = sum(line["per_second"] for line in own) // len(own)
            sweep = f"{median(line['sweep_ms'] for line in own):,.0f} ms, {most['sweep_ms_max']:,.0f} ms"
            rows.append((f"to {most['operations']:,}", f"{rate:,}", *_sizes(most, last), text.size(most["rss"]), sweep))
    rows += [(moment, "", *_sizes(last[moment], last), "", "") for moment in ("killed", "reopened", "closed")]
    columns = (
        "operations",
        "per second",
        "disk",
        "of live data",
        "files",
        "blobs",
        "in blobs",
        "RSS",
        "sweep, longest",
    )
    print_table(columns, rows)
    click.echo(
        f"{last['operations']:,} operations in {last['seconds']:,.0f} s; opened in {last['opening_ms']:,.0f} ms; "
        f"{text.size(last['live_bytes'])} of live data; "
        + (f"{len(last['wrong'])} wrong" if last["wrong"] else "everything acknowledged is there")
    )


def _sizes(line: Line, last: Line) -> tuple[object, ...]:
    disk = f"{line['bytes'] / last['live_bytes']:.1f}"
    return text.size(line["bytes"]), disk, line["files"], line["blobs"], text.size(line["blob_bytes"])


def main() -> None:
    """Run the command line; see `run_command`."""
    run_command(command, "soak")


def run_command(command: click.Command, name: str) -> None:
    """Run a command. Exit codes: what it exits with, 1 failed, 2 usage error, 130 interrupted."""
    try:
        command.main(prog_name=f"python tests/benchmarks/{name}", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.stderr.write(f"{name}: interrupted\n")
        sys.exit(130)
    except (OSError, ChurnFailed, SessionError, sled.SledError) as error:
        sys.exit(f"{name}: {error}")
