"""`sled-sessions delete`, `sweep`, `verify` and `reindex`: keeping a database in order."""

from datetime import timedelta
from pathlib import Path

import attrs
import click

from sled_sessions import SledStore, SweepStrategy
from sled_sessions.cli.common import (
    FOUND,
    Duration,
    IdCommand,
    database_argument,
    json_option,
    print_json,
    progress_bar,
    tree_option,
)
from sled_sessions.operate import (
    check_everything,
    count_expired,
    find_session,
    kept_store,
    open_database,
    opened_store,
)


@click.command(cls=IdCommand)
@database_argument
@click.argument("ids", nargs=-1, required=True)
@tree_option
@json_option
def delete(database: Path, ids: tuple[str, ...], tree: str, as_json: bool) -> int:
    """End sessions of DATABASE: their visitors are logged out.

    IDS are whole ids, or as many first characters as only one session has. All are looked up before any is deleted.
    """
    with opened_store(database, tree) as store:
        found = [find_session(store, id) for id in ids]
        deleted = sum(store.delete(record.id) for record in found if record is not None)
        store.flush(fsync=True)
    missing = len(ids) - deleted
    if as_json:
        print_json({"deleted": deleted, "missing": missing})
    else:
        click.echo(f"{deleted} deleted" + (f", {missing} not found" if missing else ""))
    return FOUND if missing else 0


@click.command()
@database_argument
@tree_option
@click.option(
    "--strategy",
    type=click.Choice([strategy.value for strategy in SweepStrategy]),
    help="How to find them; by the index if there is one.",
)
@click.option("--limit", type=click.IntRange(1), help="Delete at most so many.")
@click.option("--budget", type=Duration(), metavar="TIME", help="Stop after this time.")
@click.option("--dry-run", is_flag=True, help="Only count them.")
@json_option
def sweep(
    database: Path,
    tree: str,
    strategy: str | None,
    limit: int | None,
    budget: timedelta | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Delete the expired sessions of DATABASE. A running server does so itself, with a Sweeper."""
    with opened_store(database, tree) as store, progress_bar("sweeping") as progress:
        how = None if strategy is None else SweepStrategy(strategy)
        if dry_run:
            report = count_expired(store, how, progress=progress)
        else:
            report = store.delete_expired(how, limit=limit, budget=budget, progress=progress)
            store.flush(fsync=True)
    if as_json:
        print_json(attrs.asdict(report) | {"dry_run": dry_run})
        return
    by = "" if report.strategy is None else f" by {report.strategy.value}"
    word = "would be deleted" if dry_run else "deleted"
    click.echo(
        f"{report.deleted:,} {word}; {report.examined:,} looked at{by}, "
        f"{report.undecodable:,} unreadable, {report.seconds:.2f} s{'' if report.complete else '; there are more'}"
    )


@click.command()
@database_argument
@tree_option
@json_option
def verify(database: Path, tree: str, as_json: bool) -> int:
    """Read all of DATABASE, its file included, and compare the expiry index with the sessions."""
    with opened_store(database, tree) as store, progress_bar("verifying") as progress:
        report = check_everything(store, progress=progress)
    index = report.index
    if as_json:
        print_json({"ok": bool(report), **attrs.asdict(report)})
        return 0 if report else FOUND
    click.echo(f"{report.contents.pairs:,} keys in {report.contents.trees} trees, checksum {report.contents.checksum}")
    click.echo(
        f"{index.records:,} sessions, {index.undecodable:,} unreadable; {index.missing:,} missing from the index, "
        f"{index.stale:,} entries of no session"
    )
    if index.missing or index.stale:
        click.echo("The index is wrong: sled-sessions reindex builds it anew.", err=True)
    if index.undecodable:
        click.echo("Unreadable records stay where they are; sled-sessions export writes their bytes.", err=True)
    return 0 if report else FOUND


@click.command()
@database_argument
@tree_option
@json_option
def reindex(database: Path, tree: str, as_json: bool) -> None:
    """Build the expiry index of DATABASE anew: after a program in Rust wrote to it, or for one that has none."""
    with open_database(database) as db, progress_bar("indexing") as progress:
        store = kept_store(db, tree)
        if store.resolution is not None:
            report = store.rebuild_index(progress)
        else:
            store = SledStore(store.tree, progress=progress)  # builds one
            report = store.verify_index()
        store.flush(fsync=True)
    if as_json:
        print_json(attrs.asdict(report))
    else:
        click.echo(f"{report.records:,} sessions, {report.undecodable:,} unreadable, {report.seconds:.1f} s")


COMMANDS = {"delete": delete, "sweep": sweep, "verify": verify, "reindex": reindex}
