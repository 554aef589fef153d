"""`sled-sessions compact`."""

from pathlib import Path

import click

from sled_sessions import operate
from sled_sessions.cli import common
from sled_sessions.display.text import size


@click.command()
@common.paths("old", "new")
def command(old: Path, new: Path, as_json: bool) -> None:
    """Copy the database OLD to the folder NEW without the space of deleted data, and compare the two."""
    with common.progress_bar("copying") as progress:
        report = operate.compact(old, new, progress=progress)
    sizes = f"{size(report.size_before)} before, {size(report.size_after)} now"
    text = f"{common.in_words(report.contents)}: copied to {new}\n{sizes}"
    common.print_result(report, text, as_json=as_json)
