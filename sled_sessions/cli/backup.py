"""`sled-sessions backup`."""

from pathlib import Path

import click

from sled_sessions import operate
from sled_sessions.cli import common


@click.command()
@common.paths("database", "file")
def command(database: Path, file: Path, as_json: bool) -> None:
    """Save all of DATABASE in FILE, and read it back. A running program calls sled_sessions.operate.backup instead."""
    with operate.open_database(database) as db, common.progress_bar("saving") as progress:
        contents = operate.backup(db, file, progress=progress)
    common.print_result(contents, f"{common.in_words(contents)}: saved in {file}", as_json=as_json)
