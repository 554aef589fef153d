"""`sled-sessions migrate`."""

from datetime import timedelta
from pathlib import Path

import click

from sled_sessions import operate
from sled_sessions.cli import common
from sled_sessions.cli.limited import Limits, limit_options, run_limited
from sled_sessions.operate import Format


@click.command()
@common.paths("old", "new")
@click.option("--to", type=click.Choice([each.value for each in Format]), required=True, help="The version of sled.")
@limit_options
def command(old: Path, new: Path, to: str, memory_limit: int, time_limit: timedelta, as_json: bool) -> None:
    """Copy the database OLD to the folder NEW in the format of another version of sled, and compare the two.

    OLD is not changed. NEW appears when every tree, key and value is in it.
    """
    with common.progress_bar("migrating") as progress:
        limits = Limits(memory_limit, time_limit)
        contents = run_limited(operate.migrate, old, new, Format(to), limits=limits, progress=progress)
    text = f"{common.in_words(contents)}: migrated to {new}, in the format of sled {to}"
    common.print_result(contents, text, as_json=as_json)
