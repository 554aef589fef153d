"""`sled-sessions delete`, `sweep`, `verify` and `reindex`: keeping a database in order."""

from datetime import timedelta
from itertools import islice
from pathlib import Path

import attrs
import click

from sled_sessions import SledStore, SweepStrategy
from sled_sessions.cli.common import (
    FOUND,
    Duration,
    IdCommand,
    database_argument,
    id_of,
    json_option,
    print_json,
    progress_bar,
    shown_id,
    tree_option,
)
from sled_sessions.display.text import plural
from sled_sessions.operate import (
    OperationError,
    all_records,
    check_everything,
    kept_store,
    open_database,
    opened_store,
)

_NAMED = 10
"""Unreadable records that `verify` names; `list` names all."""

_NO_INDEX = "the database has no expiry index; sled-sessions reindex builds one"


@click.command(cls=IdCommand)
@database_argument
@click.argument("ids", nargs=-1, required=True)
@tree_option
@json_option
def delete(database: Path, ids: tuple[str, ...], tree: str, as_json: bool) -> int:
    """End sessions of DATABASE: their visitors are logged out.

    IDS are whole ids, or their first characters (at least 4), if no other id begins so. All are looked up before any is
    deleted. Records that cannot be read are deleted like all others.
    """
    with opened_store(database, tree) as store:
        found = [id_of(store, id) for id in dict.fromkeys(ids)]
        deleted = sum(store.delete(id) for id in set(found) if id is not None)
        store.flush(fsync=True)
    missing = found.count(None)
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
    help="How to find expired sessions. [default: the index, if there is one]",
)
@click.option("--limit", type=click.IntRange(1), help="How many to delete at most.")
@click.option("--budget", type=Duration(), metavar="TIME", help="Stop after this time, such as 500ms or 2s.")
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
        if how is SweepStrategy.EXPIRY_INDEX and store.resolution is None:
            raise OperationError(_NO_INDEX)
        if dry_run:
            report = store.delete_expired(how, limit=limit, budget=budget, progress=progress, dry_run=True)
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
        unreadable = (shown_id(key) for key, record in all_records(store) if record is None)
        named = list(islice(unreadable, _NAMED)) if report.unreadable else []
    index = report.index
    if as_json:
        print_json({"ok": bool(report), **attrs.asdict(report)})
        return 0 if report else FOUND
    keys, trees = plural(report.contents.pairs, "key"), plural(report.contents.trees, "tree")
    click.echo(f"{keys} in {trees}, checksum {report.contents.checksum}")
    entries = "1 entry" if index.stale == 1 else f"{index.stale:,} entries"
    compared = f"{index.missing:,} missing from the index, {entries} without a session"
    if report.resolution is None:
        compared = "no expiry index"
    click.echo(f"{plural(report.sessions, 'session')}, {report.unreadable:,} unreadable; {compared}")
    if report.resolution is None:
        click.echo("Without an index a sweep reads every record: sled-sessions reindex builds one.", err=True)
    if index.missing or index.stale:
        click.echo("The index is wrong: sled-sessions reindex builds it anew.", err=True)
    if named:
        click.echo(f"Unreadable: {', '.join(named)}{', …' if report.unreadable > _NAMED else ''}", err=True)
        click.echo(
            "sled-sessions list --unreadable names all, export writes their bytes, delete ends those that have an id.",
            err=True,
        )
    return 0 if report else FOUND


@click.command()
@database_argument
@tree_option
@json_option
def reindex(database: Path, tree: str, as_json: bool) -> None:
    """Build the expiry index of DATABASE anew: after a program in Rust wrote to it, or for one that has none."""
    with open_database(database) as db, progress_bar("indexing") as progress:
        store = kept_store(db, tree)
        try:
            if store.resolution is not None:
                report = store.rebuild_index(progress)
            else:
                store = SledStore(store.tree, progress=progress)  # builds one
                report = store.verify_index()
        except KeyboardInterrupt:
            if store.resolution is not None:  # before the building, or after it
                raise
            raise click.exceptions.Abort(
                "the database has no expiry index now; run sled-sessions reindex again"
            ) from None
        store.flush(fsync=True)
    if as_json:
        print_json(attrs.asdict(report))
    else:
        sessions = plural(report.records, "session")
        click.echo(f"{sessions}, {report.undecodable:,} unreadable, {report.seconds:.1f} s")
