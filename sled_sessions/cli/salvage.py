"""`sled-sessions salvage`."""

from datetime import timedelta
from pathlib import Path

import click

from sled_sessions import operate
from sled_sessions.cli import common
from sled_sessions.cli.limited import Limits, limit_options, run_limited
from sled_sessions.display.text import plural


@click.command()
@common.paths("old", "new")
@click.option("--tree", default="session", help="The tree for sessions that are found outside any.")
@limit_options
def command(old: Path, new: Path, tree: str, memory_limit: int, time_limit: timedelta, as_json: bool) -> int:
    """Copy what can still be read of the damaged database OLD to the folder NEW. OLD is not changed.

    The exit code is 3 if something could not be read.
    """
    operate.refuse_tree_of_index(tree)
    with common.progress_bar("reading") as progress:
        report = run_limited(
            operate.salvage, old, new, tree=tree, limits=Limits(memory_limit, time_limit), progress=progress
        )
    text = (
        f"{common.in_words(report.contents)}: copied to {new}\n"
        f"could not read {plural(report.lost, 'place')}; found {plural(report.recovered, 'session')} outside any tree, "
        f"and dropped {plural(report.dropped, 'other key')}"
    )
    common.print_result(report, text, as_json=as_json)
    return common.FOUND if report.is_incomplete else 0
