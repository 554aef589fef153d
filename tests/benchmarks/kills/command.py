"""The command line of the kills."""

import json
import sys
import tempfile
from collections import Counter
from contextlib import redirect_stdout
from pathlib import Path
from random import Random
from typing import get_args

import attrs
import click

from benchmarks.kills.run import MOMENTS, kills
from benchmarks.soak.churn import Options
from benchmarks.soak.command import ByteRange, run_command
from sled_sessions.cli.common import LocalPath, print_table, progress_bar
from sled_sessions.stores.sled.durability import Durability


@click.command("kills", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--count", type=click.IntRange(min=1), default=300, show_default=True, help="Kills in each combination.")
@click.option(
    "--durability",
    "durabilities",
    type=click.Choice(get_args(Durability)),
    multiple=True,
    default=get_args(Durability),
    help="May be repeated. [default: each]",
)
@click.option(
    "--size",
    "sizes",
    type=ByteRange(),
    multiple=True,
    default=("300", "9000-60000"),
    show_default=True,
    help="Bytes of a record, or a range; may be repeated.",
)
@click.option("--live", type=click.IntRange(min=100), default=500, show_default=True, help="Live sessions.")
@click.option("--threads", type=click.IntRange(min=1), default=4, show_default=True, help="Threads that write.")
@click.option("--seed", type=int, default=2, show_default=True, help="Chooses the moments.")
@click.option(
    "--folder", type=LocalPath(file_okay=False, path_type=Path), help="Keep the databases here. [default: temporary]"
)
def command(
    count: int,
    durabilities: tuple[Durability, ...],
    sizes: tuple[tuple[int, int], ...],
    live: int,
    threads: int,
    seed: int,
    folder: Path | None,
) -> None:
    """Kill a process that churns a store at random moments, and check after each kill what a new process finds.

    Nothing that was acknowledged may be missing or changed, nothing deleted may be back, every open must succeed, and
    `sled-sessions verify` must find nothing wrong. With "interval", that goes for what was acknowledged two seconds
    before the kill. Prints a line of JSON for each kill, and a table on stderr at the end.

    Exit codes: 0, 1 for a failure, 3 if something was wrong after a kill.
    """
    rows, is_wrong = [], False
    with tempfile.TemporaryDirectory(prefix="sled_sessions-") as temporary, progress_bar("killing") as bar:
        for durability in durabilities:
            for low, high in sizes:
                name = f"{durability}-{low}-{high}"
                place = folder or Path(temporary)
                place.mkdir(parents=True, exist_ok=True)
                options = Options(
                    folder=str(place / name),
                    ledger=str(place / f"{name}.ledger"),
                    live=live,
                    low=low,
                    high=high,
                    threads=threads,
                    durability=durability,
                )
                moments: Counter[str] = Counter()
                wrong = operations = 0
                for kill in kills(options, count, Random(seed)):
                    click.echo(json.dumps({"durability": durability, "size": [low, high], **attrs.asdict(kill)}))
                    moments[kill.moment] += 1
                    wrong += bool(kill.wrong)
                    operations = max(operations, kill.operations)
                    bar(moments.total(), count, name)
                is_wrong |= wrong > 0
                rows.append((durability, f"{low:,} to {high:,}", *(moments[m] for m in MOMENTS), operations, wrong))
    with redirect_stdout(sys.stderr):
        print_table(("durability", "bytes", *MOMENTS, "operations", "wrong"), rows)
    if is_wrong:
        sys.exit(3)


def main() -> None:
    """Run the command line."""
    run_command(command, "kills")
