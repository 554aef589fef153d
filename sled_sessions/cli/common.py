"""What the commands share: their arguments, tables, JSON, progress bars."""

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from sled_sessions import DecodeError, Id, SledStore
from sled_sessions.display import durations
from sled_sessions.display.masking import printable
from sled_sessions.operate import find_id, is_url
from sled_sessions.records.jsonl import without_controls
from sled_sessions.records.record import KEY_LENGTH

FOUND = 3
"""The exit code of a check that found something wrong, and of a search that found nothing."""

# An id that begins with a dash: whole, as `list` cuts it, or cut by hand.
_is_dashed_id = re.compile(r"-[\w-]{21}|-[\w-]*…|-\w[\w-]+").fullmatch

_MOST = 1_000_000_000

_PIPE_WIDTH = 1000
"""Whoever reads a pipe wants whole lines."""


class Duration(click.ParamType[timedelta]):
    """A time such as 30s, 15m, 12h or 7d; a bare number counts seconds."""

    name = "time"

    def __init__(self, *, positive: bool = False) -> None:
        self._is_positive = positive

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Read what the user typed."""
        if isinstance(value, timedelta):
            return value
        try:
            duration = durations.parse(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if self._is_positive and not duration:
            self.fail(f"{value!r} is no time at all", param, ctx)
        return duration


class Sizes(click.ParamType[tuple[int, ...]]):
    """Numbers of sessions with commas between them, each at least so large; one that comes twice counts once."""

    name = "numbers"

    def __init__(self, fewest: int) -> None:
        self._fewest = fewest

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Read what the user typed."""
        if isinstance(value, tuple):
            return value
        try:
            sizes = tuple(dict.fromkeys(int(word.replace("_", "")) for word in str(value).split(",")))
        except ValueError:
            self.fail(f"{value!r} is no list of numbers such as 10000,100000", param, ctx)
        if min(sizes) < self._fewest:
            self.fail(f"fewer than {self._fewest} sessions show nothing", param, ctx)
        if max(sizes) > _MOST:
            self.fail(f"more than {_MOST:,} sessions take days", param, ctx)
        return sizes


class LocalPath(click.Path):
    """A folder or file of this machine; the URL of a server would become a folder `redis:`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read what the user typed."""
        if is_url(os.fspath(value)):
            self.fail("this is a server; `sled-sessions copy` takes its URL", param, ctx)  # not shown: its password
        return super().convert(value, param, ctx)


class IdCommand(click.Command):
    """A command whose arguments are ids: one in 64 begins with a dash, and is no option for that."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put such ids behind a `--`."""
        if "--" not in args:
            args = [*(arg for arg in args if not _is_dashed_id(arg)), "--", *filter(_is_dashed_id, args)]
        return super().parse_args(ctx, args)


database_argument = click.argument("database", type=LocalPath(path_type=Path))
tree_option = click.option("--tree", default="session", show_default=True, help="The tree of the sessions.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for other programs.")
reveal_option = click.option("--reveal", is_flag=True, help="Print whole ids and secret values.")


def id_of(store: SledStore, written: str) -> Id | None:
    """The id that was written on the command line, or its beginning; None if nothing lies under it."""
    try:
        return find_id(store, written)
    except DecodeError as error:
        raise click.UsageError(str(error)) from None


def shown_id(key: bytes, *, reveal: bool = False) -> str:
    """A session's id, by its first characters only, unless it shall be revealed; a key that is no id, as hex."""
    if len(key) != KEY_LENGTH:
        return f"0x{key.hex()}"
    return str(Id(key)) if reveal else f"{str(Id(key))[:8]}…"


def print_json(value: object) -> None:
    """Print attrs objects, dicts and the like as JSON on one line."""
    click.echo(without_controls(msgspec.json.encode(value)))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows for people; numbers to the right."""
    rows = list(rows)
    table = Table(box=None, header_style="bold", pad_edge=False, show_header=any(columns))
    for place, column in enumerate(columns):
        numbers = bool(rows) and all(isinstance(row[place], int) for row in rows)
        table.add_column(column, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(f"{cell:,}" if isinstance(cell, int) else printable(str(cell)) for cell in row))
    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    Console(markup=False, highlight=False, width=width).print(table)


class Bar(Protocol):
    """Moves a progress bar: a `Progress`, as `stores.sweep` has it, that may also change the label."""

    def __call__(self, done: int, total: int | None, label: str | None = None, /) -> None:
        """Say how much is done, of how much."""


@contextmanager
def progress_bar(label: str) -> Iterator[Bar]:
    """A progress bar on stderr while the block runs, if somebody is looking at it."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(label, total=None)

        def tell(done: int, total: int | None, label: str | None = None, /) -> None:
            bar.update(task, completed=done, total=total, description=label)

        yield tell


def megabytes(size: int) -> str:
    """Bytes as people read them."""
    return f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{size:,} bytes"
