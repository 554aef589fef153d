"""`sled-sessions stats`, `list` and `show`: what is in a database, without changing it."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import attrs
import click

from sled_sessions import DecodeError, Record, SledStore
from sled_sessions.cli.common import (
    FOUND,
    Duration,
    IdCommand,
    database_argument,
    id_of,
    json_option,
    megabytes,
    print_json,
    print_table,
    progress_bar,
    reveal_option,
    shown_id,
    tree_option,
)
from sled_sessions.display.masking import masked
from sled_sessions.operate import all_records, find_session, matching, opened_store
from sled_sessions.operate import stats as read_stats

_LONGEST = 100
"""Characters of a session's data in a list."""

_SEGMENT = 524_288
"""Bytes that sled's file has at least, whatever is in it."""

_NUMBER = click.IntRange(1, 10**9)
"""Of pages and of sessions on one: their product is a number that Python can count to."""


@click.command()
@database_argument
@tree_option
@json_option
def stats(database: Path, tree: str, as_json: bool) -> None:
    """Show how much DATABASE holds, how much of its file that is, and what has expired.

    sled never shrinks its file. When little of it is data, `sled-sessions compact` makes a smaller one.
    """
    with opened_store(database, tree) as store, progress_bar("reading") as progress:
        found = read_stats(store, progress=progress)
    if as_json:
        print_json(attrs.asdict(found))
        return
    print_table(("tree", "keys", "bytes"), [(each.name, each.keys, each.size) for each in found.trees])
    is_telling = found.bytes_on_disk > 2 * _SEGMENT
    share = f" ({found.live_bytes / found.bytes_on_disk:.0%} of it data)" if is_telling else ""
    index = "none" if found.resolution is None else f"in steps of {found.resolution.total_seconds():g} s"
    rows = [
        ("data of all trees", megabytes(found.live_bytes)),
        ("on disk", megabytes(found.bytes_on_disk) + share),
        ("live sessions", f"{found.sessions:,}"),
        ("expired, not yet swept", f"{found.expired:,}"),
        ("unreadable records", f"{found.unreadable:,}"),
        ("first expiry", found.first_expiry or "-"),
        ("last expiry", found.last_expiry or "-"),
        ("expiry index", index),
    ]
    click.echo()
    print_table(("", ""), rows)


@click.command()
@database_argument
@tree_option
@click.option("--expired", is_flag=True, help="Only those that have expired.")
@click.option("--live", is_flag=True, help="Only those that have not.")
@click.option(
    "--expiring-within",
    type=Duration(),
    metavar="TIME",
    help="Only live ones that expire within this time, such as 15m, 12h or 7d.",
)
@click.option("--unreadable", is_flag=True, help="Only records that cannot be read.")
@click.option(
    "--where",
    "conditions",
    multiple=True,
    metavar="KEY=VALUE",
    help="Only those whose data has this value; KEY may be a path such as user.id. May be repeated.",
)
@click.option("--limit", type=_NUMBER, default=20, show_default=True, help="How many to print at most.")
@click.option("--page", type=_NUMBER, default=1, show_default=True, help="Print the page of this number.")
@reveal_option
@json_option
def list_sessions(
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
    """List the sessions of DATABASE: ids cut and secret values masked.

    They come in the order in which they are stored; with --expiring-within, the next to expire first. With --json each
    is an object on a line of its own. A record that cannot be read is listed by its id; the filters pass over it, but
    for --unreadable. The exit code is 3 when there is nothing to list.
    """
    if expired and (live or expiring_within is not None):
        raise click.UsageError("what has expired is not live: leave --expired out, or --live and --expiring-within")
    if unreadable and (expired or live or expiring_within is not None or conditions):
        raise click.UsageError("--unreadable goes with no other filter: what cannot be read has no expiry and no data")
    with opened_store(database, tree) as store:
        now = store.clock()
        tests = [_where(condition) for condition in conditions]
        if expired:
            tests.append(lambda record: record.expiry_date <= now)
        if live or expiring_within is not None:
            tests.append(lambda record: record.expiry_date > now)
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
    if not shown:
        what = "record that cannot be read" if unreadable else "such session"
        click.echo(f"no {what}{f' on page {page}' if page > 1 else ''}", err=True)
        return FOUND
    if as_json:
        for key, record in shown:
            print_json(_plain(key, record, reveal=reveal))
        return 0
    rows = [
        (
            shown_id(key, reveal=reveal),
            "-" if record is None else _moment(record),
            "cannot be read" if record is None else _data(record, reveal=reveal),
        )
        for key, record in shown
    ]
    print_table(("id", "expires", "data"), rows)
    if more:
        click.echo(f"There are more: --page {page + 1}", err=True)
    return 0


@click.command(cls=IdCommand)
@database_argument
@click.argument("id")
@tree_option
@reveal_option
@json_option
def show(database: Path, id: str, tree: str, reveal: bool, as_json: bool) -> int:
    """Show one session of DATABASE, expired or not: secret values masked.

    ID is the whole id, or its first characters (at least 4), if no other id begins so.
    """
    with opened_store(database, tree) as store:
        whole = id_of(store, id)
        record = None if whole is None else find_session(store, str(whole))
        if record is None:
            click.echo("no such session", err=True)
            return FOUND
        is_live = record.expiry_date > store.clock()
    if as_json:
        print_json(_plain(record.id.key, record, reveal=reveal) | {"live": is_live})
        return 0
    data = record.data if reveal else masked(record.data)
    rows = [
        ("id", shown_id(record.id.key, reveal=reveal)),
        ("expires", f"{_moment(record)}{'' if is_live else ' (expired)'}"),
        *((key, json.dumps(value, ensure_ascii=False)) for key, value in data.items()),
    ]
    print_table(("", ""), rows)
    return 0


def _records(store: SledStore, expiring_within: timedelta | None) -> Iterator[tuple[bytes, Record | None]]:
    """All keys and records; by the index only those that may expire in time, for then nothing else need be read."""
    if expiring_within is None:
        yield from all_records(store)
        return
    now, step = store.clock(), store.resolution or timedelta(0)
    start = stop = None  # nothing expires before the year 1 or after 9999
    with suppress(OverflowError):
        start = now - step
    with suppress(OverflowError):
        stop = now + expiring_within + step
    for _, id in store.expiring(start, stop):
        with suppress(DecodeError):
            yield id.key, store.load(id)


def _where(condition: str) -> Callable[[Record], bool]:
    try:
        return matching(condition)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--where") from None


def _plain(key: bytes, record: Record | None, *, reveal: bool) -> dict[str, Any]:
    id = shown_id(key, reveal=reveal)
    if record is None:
        return {"id": id, "expiry_date": None, "data": None}
    data = record.data if reveal else masked(record.data)
    return {"id": id, "expiry_date": _exact(record.expiry_date), "data": data}


def _exact(expiry: datetime) -> datetime | str:
    """An expiry for JSON in UTC, as msgspec rounds an offset to minutes; in its own where UTC has no such year."""
    try:
        return expiry.astimezone(UTC)
    except OverflowError:
        return expiry.isoformat()


def _moment(record: Record) -> str:
    return record.expiry_date.isoformat(sep=" ", timespec="seconds")


def _data(record: Record, *, reveal: bool) -> str:
    text = json.dumps(record.data if reveal else masked(record.data), ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
