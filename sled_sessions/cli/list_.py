"""`sled-sessions list`."""

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from itertools import islice
from pathlib import Path

import click

from sled_sessions import DecodeError, Record, SledStore
from sled_sessions.cli import common
from sled_sessions.display.text import shortened
from sled_sessions.operate import all_records, opened_store

_LONGEST = 100  # characters of a session's data in the table
_NUMBER = click.IntRange(1, 10**9)  # of `--limit` and `--page`: `islice` takes their product


@click.command()
@common.of_database
@click.option("--expired", is_flag=True, help="Only expired sessions.")
@click.option("--live", is_flag=True, help="Only live sessions.")
@click.option("--expiring-within", type=common.Duration(), help="Only live sessions that expire in, say, 12h or 7d.")
@click.option("--unreadable", is_flag=True, help="Only records that cannot be read.")
@common.where_option
@click.option("--limit", type=_NUMBER, default=20, help="Sessions on a page.")
@click.option("--page", type=_NUMBER, default=1, help="The page to print.")
@common.reveal_option
def command(
    database: Path,
    tree: str,
    expired: bool,
    live: bool,
    expiring_within: timedelta | None,
    unreadable: bool,
    conditions: tuple[str, ...],
    limit: int,
    page: int,
    reveal: bool,
    as_json: bool,
) -> int:
    """List the sessions of DATABASE, with shortened ids and masked secrets.

    Sessions come in the order in which they are stored; with --expiring-within, in the order of their expiry. --json
    prints one object per line. Unreadable records are listed by their ids, except with filters other than --unreadable.
    The exit code is 3 when there is nothing to list.
    """
    if expired and (live or expiring_within is not None):
        raise click.UsageError("--expired excludes --live and --expiring-within: an expired session is not live")
    if unreadable and (expired or live or expiring_within is not None or conditions):
        raise click.UsageError("--unreadable excludes all other filters: such a record has no expiry and no data")
    with opened_store(database, tree) as store:
        now = store.clock()
        tests = common.condition_tests(conditions)
        if expired or live or expiring_within is not None:
            tests.append(lambda record: (record.expiry_date <= now) == expired)
        if expiring_within is not None:
            tests.append(lambda record: record.expiry_date - now <= expiring_within)

        def is_wanted(record: Record | None) -> bool:
            if record is None or unreadable:
                return record is None and not tests
            return all(test(record) for test in tests)

        found = (each for each in _records(store, expiring_within) if is_wanted(each[1]))
        start = (page - 1) * limit
        shown = list(islice(found, start, start + limit))
        more = next(found, None) is not None
    if as_json:
        for key, record in shown:
            common.print_json(common.plain_record(key, record, reveal=reveal))
    elif shown:
        common.print_table(("id", "expires", "data"), [_row(key, record, reveal=reveal) for key, record in shown])
        if more:
            click.echo(f"There are more: --page {page + 1}", err=True)
    if not shown:
        what = "unreadable record" if unreadable else "such session"
        click.echo(f"no {what}{f' on page {page}' if page > 1 else ''}", err=True)
    return 0 if shown else common.FOUND


def _records(store: SledStore, expiring_within: timedelta | None) -> Iterator[tuple[bytes, Record | None]]:
    """All keys and records; with `expiring_within`, by the index only those that may expire in this time."""
    if expiring_within is None:
        yield from all_records(store)
        return
    now, step = store.clock(), store.resolution or timedelta(0)
    start = stop = None  # no limit where the calendar ends
    with suppress(OverflowError):
        start = now - step
    with suppress(OverflowError):
        stop = now + expiring_within + step
    for _, id in store.expiring(start, stop):
        with suppress(DecodeError):
            yield id.key, store.load(id)


def _row(key: bytes, record: Record | None, *, reveal: bool) -> tuple[str, str, str]:
    if record is None:
        return common.shown_id(key, reveal=reveal), "-", "unreadable"
    data = json.dumps(common.shown_data(record, reveal=reveal), ensure_ascii=False)
    return common.shown_id(key, reveal=reveal), common.shown_expiry(record), shortened(data, _LONGEST)
