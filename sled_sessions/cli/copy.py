"""`sled-sessions copy`: live sessions between databases, servers and files."""

import asyncio
from pathlib import Path

import click
import msgspec

from sled_sessions.cli.common import FOUND, json_option, progress_bar, tree_option
from sled_sessions.display.text import plural
from sled_sessions.operate import CopyReport, copy_sessions, is_url, place_at


@click.command()
@click.argument("source")
@click.argument("target")
@tree_option
@click.option("--prefix", default="session:", show_default=True, help="What the sessions' keys begin with on a server.")
@json_option
def command(source: str, target: str, tree: str, prefix: str, as_json: bool) -> int:
    """Copy the live sessions of SOURCE to TARGET with their ids and expiries, so that nobody is logged out.

    Each of the two is the folder of a database, the URL of a Valkey or Redis server (redis://, rediss://, unix://,
    redis+cluster://, rediss+cluster://), or a file of JSON Lines (NAME.jsonl, or - for standard input and output).

    Stop the programs that use them first. After an interruption start the copy again: it goes on where it was. Sessions
    that were used in TARGET since are left alone. A file keeps the sessions that it has; the exit code is 3 if one of
    them differs from SOURCE's.
    """
    if _is_same(source, target):
        raise click.UsageError("SOURCE and TARGET are the same")
    places = [place_at(name, tree=tree, prefix=prefix) for name in (source, target)]
    with progress_bar("copying") as progress:
        report = asyncio.run(copy_sessions(*places, progress=progress))
    told = msgspec.json.encode(report).decode() if as_json else _in_words(report)
    click.echo(told, err=target == "-")
    return FOUND if report.differs or report.failed else 0


def _in_words(report: CopyReport) -> str:
    words = f"{plural(report.copied, 'session')} copied, {report.there:,} there already, {report.expired:,} expired"
    if report.differs:
        verb = "differs" if report.differs == 1 else "differ"
        words += f"; {report.differs:,} {verb} from the file's: delete the file, or choose another name"
    return f"{words}; {report.failed:,} not copied (unreadable, or too large)" if report.failed else words


def _is_same(source: str, target: str) -> bool:
    if is_url(source) or is_url(target):
        return source == target
    return source != "-" and Path(source).resolve() == Path(target).resolve()
