"""`sled-sessions delete`."""

from pathlib import Path

import click

from sled_sessions.cli import common
from sled_sessions.operate import all_records, opened_store


@click.command(cls=common.IdCommand)
@common.of_database
@click.argument("ids", nargs=-1)
@common.where_option
def command(database: Path, ids: tuple[str, ...], conditions: tuple[str, ...], tree: str, as_json: bool) -> int:
    """End sessions of DATABASE: their visitors are logged out.

    IDS are full ids, or at least 4 of their first characters if no other id begins with them. All are looked up before
    any is deleted. Unreadable records can be deleted, too. With --where instead of IDS, the sessions that `list` shows
    with the same conditions are deleted. The exit code is 3 if one was not found.
    """
    if bool(ids) is bool(conditions):
        raise click.UsageError("give either IDS or --where")
    with opened_store(database, tree) as store:
        if ids:
            found = [common.id_of(store, id) for id in dict.fromkeys(ids)]
        else:
            tests = common.condition_tests(conditions)
            records = (record for _, record in all_records(store) if record is not None)
            found = [record.id for record in records if all(test(record) for test in tests)]
        deleted = sum(store.delete(id) for id in set(found) if id is not None)
        store.flush(fsync=True)
    missing = found.count(None)
    if conditions and not found:
        click.echo("no such session", err=True)
    text = f"{deleted} deleted" + (f", {missing} not found" if missing else "")
    common.print_result({"deleted": deleted, "missing": missing}, text, as_json=as_json)
    return common.FOUND if missing or not found else 0
