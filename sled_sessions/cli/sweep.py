"""`sled-sessions sweep`."""

from datetime import timedelta
from pathlib import Path

import attrs
import click

from sled_sessions import SweepStrategy
from sled_sessions.cli import common
from sled_sessions.operate import OperationError, opened_store


@click.command()
@common.of_database
@click.option(
    "--strategy", type=common.strategies, help="How to find expired sessions. [default: by the index, if there is one]"
)
@click.option("--limit", type=click.IntRange(1), help="Delete at most this many.")
@click.option("--budget", type=common.Duration(), help="Stop after this time, such as 500ms or 2s.")
@click.option("--dry-run", is_flag=True, help="Only count the sessions, and delete none.")
def command(
    database: Path,
    tree: str,
    strategy: str | None,
    limit: int | None,
    budget: timedelta | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Delete the expired sessions of DATABASE. A running server does this with a Sweeper."""
    with opened_store(database, tree) as store, common.progress_bar("sweeping") as progress:
        how = None if strategy is None else SweepStrategy(strategy)
        if how is SweepStrategy.EXPIRY_INDEX and store.resolution is None:
            raise OperationError("the database has no expiry index; sled-sessions reindex builds one")
        report = store.delete_expired(how, limit=limit, budget=budget, progress=progress, dry_run=dry_run)
        if not dry_run:
            store.flush(fsync=True)
    by = "" if report.strategy is None else f" by {report.strategy.value}"
    text = (
        f"{report.deleted:,} {'would be ' if dry_run else ''}deleted; {report.examined:,} examined{by}, "
        f"{report.undecodable:,} unreadable, {report.seconds:.2f} s{'' if report.complete else '; there are more'}"
    )
    common.print_result(attrs.asdict(report) | {"dry_run": dry_run}, text, as_json=as_json)
