"""`sled-sessions verify`."""

from itertools import islice
from pathlib import Path

import attrs
import click

from sled_sessions.cli import common
from sled_sessions.display.text import plural
from sled_sessions.operate import all_records, check_everything, opened_store

_NAMED = 10
"""How many unreadable records are named."""


@click.command()
@common.database_argument
@common.tree_option
@common.json_option
def command(database: Path, tree: str, as_json: bool) -> int:
    """Read all of DATABASE, and compare its expiry index with the sessions.

    The exit code is 3 if a record is unreadable or the index is wrong, and 5 if a file is damaged.
    """
    with opened_store(database, tree) as store, common.progress_bar("verifying") as progress:
        report = check_everything(store, progress=progress)
        unreadable = (common.shown_id(key) for key, record in all_records(store) if record is None)
        named = list(islice(unreadable, _NAMED)) if report.unreadable else []
    code = 0 if report else common.FOUND
    if as_json:
        common.print_json({"ok": bool(report), **attrs.asdict(report)})
        return code
    keys, trees = plural(report.contents.pairs, "key"), plural(report.contents.trees, "tree")
    click.echo(f"{keys} in {trees}, checksum {report.contents.checksum}")
    index = report.index
    entries = "1 entry" if index.stale == 1 else f"{index.stale:,} entries"
    compared = f"{index.missing:,} missing from the index, {entries} without a session"
    if report.resolution is None:
        compared = "no expiry index"
    click.echo(f"{plural(report.sessions, 'session')}, {report.unreadable:,} unreadable; {compared}")
    if report.resolution is None:
        click.echo("Without an index a sweep reads every record: sled-sessions reindex builds one.", err=True)
    if index.missing or index.stale:
        click.echo("The index is wrong: sled-sessions reindex rebuilds it.", err=True)
    if named:
        click.echo(f"Unreadable: {', '.join(named)}{', …' if report.unreadable > _NAMED else ''}", err=True)
        click.echo(
            "sled-sessions list --unreadable names all of them, export writes their bytes, and delete removes those "
            "that have an id.",
            err=True,
        )
    return code
