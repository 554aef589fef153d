"""`sled-sessions verify`."""

from itertools import islice
from pathlib import Path

import attrs
import click

from sled_sessions.cli import common
from sled_sessions.display.text import plural
from sled_sessions.operate import all_records, check_everything, opened_store

_NAMED = 10  # unreadable records


@click.command()
@common.of_database
def command(database: Path, tree: str, as_json: bool) -> int:
    """Read all of DATABASE, and compare its expiry index with the sessions.

    The exit code is 3 if a record is unreadable or missing from the index, and 5 if a file is damaged. Entries without
    a session, such as a crash leaves, are counted and harmless: a sweep drops them.
    """
    with opened_store(database, tree) as store, common.progress_bar("verifying") as progress:
        report = check_everything(store, progress=progress)
        unreadable = (common.shown_id(key) for key, record in all_records(store) if record is None)
        named = list(islice(unreadable, _NAMED)) if report.unreadable else []
    code = 0 if report else common.FOUND
    if as_json:
        common.print_json({"ok": bool(report), **attrs.asdict(report)})
        return code
    click.echo(common.in_words(report.contents))
    index = report.index
    sessions = f"{plural(report.sessions, 'session')}, {report.unreadable:,} unreadable"
    if report.resolution is None:
        click.echo(f"{sessions}; no expiry index")
        click.echo("Without an index a sweep reads every record: sled-sessions reindex builds one.", err=True)
    else:
        entries = "1 entry" if index.stale == 1 else f"{index.stale:,} entries"
        click.echo(f"{sessions}; {index.missing:,} missing from the index, {entries} without a session")
    if not index:
        click.echo("The index is wrong: sled-sessions reindex rebuilds it.", err=True)
    if named:
        click.echo(f"Unreadable: {', '.join(named)}{', …' if report.unreadable > _NAMED else ''}", err=True)
        cure = "names all, export writes their bytes, and delete removes those that have an id."
        click.echo(f"sled-sessions list --unreadable {cure}", err=True)
    return code
