"""`sled-sessions show`."""

import json
from pathlib import Path

import click

from sled_sessions.cli import common
from sled_sessions.operate import find_session, opened_store


@click.command(cls=common.IdCommand)
@common.of_database
@click.argument("id")
@common.reveal_option
def command(database: Path, id: str, tree: str, reveal: bool, as_json: bool) -> int:
    """Show one session of DATABASE, live or expired, with masked secrets.

    ID is a full id, or at least 4 of its first characters if no other id begins with them.
    """
    with opened_store(database, tree) as store:
        full_id = common.id_of(store, id)
        record = None if full_id is None else find_session(store, str(full_id))
        if record is None:
            click.echo("no such session", err=True)
            return common.FOUND
        is_live = record.expiry_date > store.clock()
    if as_json:
        common.print_json(common.plain_record(record.id.key, record, reveal=reveal) | {"live": is_live})
        return 0
    data = common.shown_data(record, reveal=reveal).items()
    rows = [
        ("id", common.shown_id(record.id.key, reveal=reveal)),
        ("expires", f"{common.shown_expiry(record)}{'' if is_live else ' (expired)'}"),
        *((key, json.dumps(value, ensure_ascii=False)) for key, value in data),
    ]
    common.print_table(("", ""), rows)
    return 0
