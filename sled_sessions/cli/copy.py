"""`sled-sessions copy`."""

import asyncio
from pathlib import Path

import click
import msgspec

from sled_sessions.cli import common
from sled_sessions.display.text import plural
from sled_sessions.operate import CopyReport, copy_sessions, is_url, place_at


@click.command()
@click.argument("source")
@click.argument("target")
@common.tree_option
@click.option("--prefix", default="session:", help="The prefix of the sessions' keys on a server.")
@common.json_option
def command(source: str, target: str, tree: str, prefix: str, as_json: bool) -> int:
    """Copy the live sessions of SOURCE to TARGET with their ids and expiries, so that visitors stay logged in.

    Each of the two is the folder of a database, the URL of a Valkey or Redis server (redis:// or valkey://, with TLS
    rediss:// or valkeys://, unix://, redis+cluster://, rediss+cluster://), or a file of JSON Lines (NAME.jsonl, or -
    for standard input and output).

    Stop the programs that use them first. After an interruption, run it again: it continues. Sessions that were used in
    TARGET since are left alone. So are sessions that a file has already; the exit code is 3 if one of them differs from
    SOURCE's, or if a session could not be copied.
    """
    if _is_same(source, target):
        raise click.UsageError("SOURCE and TARGET are the same")
    for name in (source, target):
        common.warn_if_readable(name)
    places = [place_at(name, tree=tree, prefix=prefix) for name in (source, target)]
    with common.progress_bar("copying") as progress:
        report = asyncio.run(copy_sessions(*places, progress=progress))
    click.echo(msgspec.json.encode(report).decode() if as_json else _in_words(report), err=target == "-")
    return common.FOUND if report.differs or report.failed else 0


def _in_words(report: CopyReport) -> str:
    words = f"{plural(report.copied, 'session')} copied, {report.there:,} existed already, {report.expired:,} expired"
    if report.differs:
        verb = "differs" if report.differs == 1 else "differ"
        words += f"; {report.differs:,} {verb} from the file's: delete the file, or choose another name"
    return f"{words}; {report.failed:,} not copied (unreadable, or too large)" if report.failed else words


def _is_same(source: str, target: str) -> bool:
    if is_url(source) or is_url(target):
        return source == target
    return source != "-" and Path(source).resolve() == Path(target).resolve()
