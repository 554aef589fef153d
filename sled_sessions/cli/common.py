"""What the commands share: arguments and options, and printing of ids, records, tables, JSON and progress."""

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import reduce
from pathlib import Path
from typing import Any, TypeAlias

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from sled_sessions import DecodeError, Id, Record, SledStore, SweepStrategy
from sled_sessions.display import durations, text
from sled_sessions.display.masking import masked, printable, printable_json
from sled_sessions.operate import Contents, NoDatabase, find_id, format_of, is_readable_by_others, is_url, matching
from sled_sessions.records.record import KEY_LENGTH

FOUND = 3  # the exit code of a check that found something wrong, and of a search that found nothing
_PIPE_WIDTH = 1000  # columns of a table in a pipe, so that its lines are not wrapped

_warned: set[Path] = set()

Decorator: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]

# An id that begins with a dash: in full, as `list` shortens it, or shortened by hand.
_is_dashed_id = re.compile(r"-[\w-]{21}|-[\w-]*…|-\w[\w-]+").fullmatch


class Duration(click.ParamType[timedelta]):
    """A time such as 30s, 15m, 12h or 7d; a bare number counts seconds."""

    name = "time"

    def __init__(self, *, positive: bool = False) -> None:
        self._is_positive = positive

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Parse the argument."""
        if isinstance(value, timedelta):
            return value
        try:
            duration = durations.parse(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if self._is_positive and not duration:
            self.fail("the time must be longer than zero", param, ctx)
        return duration


class Size(click.ParamType[int]):
    """A number of bytes such as 500M or 8G, in powers of 1,024; a bare number counts bytes."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Parse the argument."""
        match = re.fullmatch(r"([0-9]{1,12})([KMGT]?)B?", str(value), re.IGNORECASE)
        if match is None or not int(match[1]):
            self.fail(f"{value!r} is not a size such as 500M or 8G", param, ctx)
        return int(match[1]) << 10 * " KMGT".index(match[2].upper() or " ")


class LocalPath(click.Path):
    """A folder or file on this machine. A server's URL is refused: it would become a folder named `redis:`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Check the argument."""
        if is_url(os.fspath(value)):  # the message does not show the URL, which may hold a password
            self.fail("this is a server; `sled-sessions copy` takes its URL", param, ctx)
        path = super().convert(value, param, ctx)
        warn_if_readable(os.fsdecode(path))
        return path


def warn_if_readable(path: str | os.PathLike[str]) -> None:
    """Say on stderr, once for each database, that other users can read it."""
    with suppress(NoDatabase, OSError):  # for the command to report
        format_of(path)
        if is_readable_by_others(path) and (folder := Path(path).resolve()) not in _warned:
            _warned.add(folder)
            words = "other users can read it, and session ids are as good as passwords"
            click.echo(printable(f"sled-sessions: {path}: {words}: chmod -R go= {path}"), err=True)


class IdCommand(click.Command):
    """A command whose arguments are ids, of which one in 64 begins with a dash and must not be read as an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Move such ids behind a `--`."""
        if "--" not in args:
            args = [*(arg for arg in args if not _is_dashed_id(arg)), "--", *filter(_is_dashed_id, args)]
        return super().parse_args(ctx, args)


def together(*parameters: Decorator) -> Decorator:
    """A decorator that adds several arguments and options."""
    return lambda function: reduce(lambda decorated, add: add(decorated), reversed(parameters), function)


def paths(*names: str) -> Decorator:
    """Arguments for local folders or files, each a `Path`, and the option `--json`."""
    return together(*(click.argument(name, type=LocalPath(path_type=Path)) for name in names), json_option)


tree_option = click.option("--tree", default="session", help="The tree of the sessions.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
of_database = together(tree_option, paths("database"))
reveal_option = click.option("--reveal", is_flag=True, help="Print full ids and secret values.")
where_option = click.option(
    "--where",
    "conditions",
    multiple=True,
    metavar="KEY=VALUE",
    help="Only sessions whose data has this value; KEY may be a path such as user.id. May be repeated.",
)
timespan = Duration(positive=True)
strategies = click.Choice([strategy.value for strategy in SweepStrategy])


def id_of(store: SledStore, prefix: str) -> Id | None:
    """The stored id with this text or prefix; None if there is none."""
    try:
        return find_id(store, prefix)
    except DecodeError as error:
        raise click.UsageError(str(error)) from None


def condition_tests(conditions: Iterable[str]) -> list[Callable[[Record], bool]]:
    """A function for each `--where`, which tells whether a record meets it."""
    try:
        return [matching(condition) for condition in conditions]
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--where") from None


def shown_id(key: bytes, *, reveal: bool = False) -> str:
    """A session's id, shortened unless `reveal`; a key that is not an id in hexadecimal."""
    if len(key) != KEY_LENGTH:
        return f"0x{key.hex()}"
    return str(Id(key)) if reveal else f"{str(Id(key))[:8]}…"


def shown_data(record: Record, *, reveal: bool) -> dict[str, Any]:
    """A record's data, with secrets masked unless `reveal`."""
    return dict(record.data if reveal else masked(record.data))


def shown_expiry(record: Record) -> str:
    """A record's expiry to the second, in its own time zone."""
    return record.expiry_date.isoformat(sep=" ", timespec="seconds")


def plain_record(key: bytes, record: Record | None, *, reveal: bool) -> dict[str, Any]:
    """A record for `print_json`; `record` is None if it cannot be decoded."""
    if record is None:
        return {"id": shown_id(key, reveal=reveal), "expiry_date": None, "data": None}
    expiry: datetime | str
    try:
        expiry = record.expiry_date.astimezone(UTC)  # msgspec would round another offset to minutes
    except OverflowError:  # before the year 1 or after 9999 in UTC
        expiry = record.expiry_date.isoformat()
    return {"id": shown_id(key, reveal=reveal), "expiry_date": expiry, "data": shown_data(record, reveal=reveal)}


def print_json(value: object) -> None:
    """Print attrs objects, dicts and the like as JSON on one line."""
    click.echo(printable_json(msgspec.json.encode(value)))


def print_result(result: object, words: str, *, as_json: bool) -> None:
    """Print what a command did, as JSON or as text."""
    if as_json:
        print_json(result)
    else:
        click.echo(words)


def in_words(contents: Contents) -> str:
    """The contents of a database for people."""
    keys, trees = text.plural(contents.pairs, "key"), text.plural(contents.trees, "tree")
    return f"{keys} in {trees}, {text.size(contents.size)}, checksum {contents.checksum}"


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table with numbers aligned to the right; without a header if all `columns` are empty."""
    rows = list(rows)
    table = Table(box=None, header_style="bold", pad_edge=False, show_header=any(columns))
    for column, is_numeric in zip(columns, text.numeric(columns, rows), strict=True):
        table.add_column(column, justify="right" if is_numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(printable(text.plain(cell)) for cell in row))
    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    Console(markup=False, emoji=False, highlight=False, width=width).print(table)


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[..., None]]:
    """A progress bar on stderr, if that is a terminal: a `stores.sweep.Progress` that may also change the label."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(label, total=None)

        def move(done: int, total: int | None, label: str | None = None) -> None:
            bar.update(task, completed=done, total=total, description=label)

        yield move
