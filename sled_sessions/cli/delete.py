"""`sled-sessions delete`."""

from pathlib import Path

import click

from sled_sessions.cli import common
from sled_sessions.operate import opened_store


@click.command(cls=common.IdCommand)
@common.of_database
@click.argument("ids", nargs=-1, required=True)
def command(database: Path, ids: tuple[str, ...], tree: str, as_json: bool) -> int:
    """End sessions of DATABASE: their visitors are logged out.

    IDS are full ids, or at least 4 of their first characters if no other id begins with them. All are looked up before
    any is deleted. Unreadable records can be deleted, too. The exit code is 3 if one was not found.
    """
    with opened_store(database, tree) as store:
        found = [common.id_of(store, id) for id in dict.fromkeys(ids)]
        deleted = sum(store.delete(id) for id in set(found) if id is not None)
        store.flush(fsync=True)
    missing = found.count(None)
    text = f"{deleted} deleted" + (f", {missing} not found" if missing else "")
    common.print_result({"deleted": deleted, "missing": missing}, text, as_json=as_json)
    return common.FOUND if missing else 0
