"""`sled-sessions export`."""

import sys
from pathlib import Path

import click

from sled_sessions import operate
from sled_sessions.cli import common
from sled_sessions.display.text import plural


@click.command()
@common.of_database
@click.argument("file", type=common.LocalPath())
@click.option("--resume", is_flag=True, help="Continue an interrupted export to FILE.")
def command(database: Path, file: str, tree: str, resume: bool, as_json: bool) -> None:
    """Write all sessions of DATABASE to FILE as JSON Lines, with full ids and secrets; - is standard output."""
    if file == "-" and (resume or as_json):
        raise click.UsageError("--resume and --json are for an export into a file, not for -")
    with operate.opened_store(database, tree) as store:
        if file == "-":
            for line in operate.export_lines(store.tree):
                sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
            return
        try:
            with common.progress_bar("exporting") as progress:
                count = operate.export_sessions(store.tree, file, resume=resume, progress=progress)
        except KeyboardInterrupt:
            partial = operate.partial_file(Path(file))
            if not partial.exists():  # it was not created yet, or has been renamed to FILE already
                raise
            raise click.exceptions.Abort(
                f"{partial} is left, with the sessions written so far; --resume continues it"
            ) from None
    common.print_result({"sessions": count}, f"{plural(count, 'session')} written to {file}", as_json=as_json)
