"""`sled-sessions restore`."""

from pathlib import Path

import click

from sled_sessions import operate
from sled_sessions.cli import common


@click.command()
@common.paths("file", "new")
def command(file: Path, new: Path, as_json: bool) -> None:
    """Create the folder NEW from the backup FILE, and compare the two; an existing folder is never overwritten."""
    with common.progress_bar("restoring") as progress:
        contents = operate.restore(file, new, progress=progress)
    common.print_result(contents, f"{common.in_words(contents)}: restored to {new}", as_json=as_json)
