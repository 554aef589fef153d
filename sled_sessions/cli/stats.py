"""`sled-sessions stats`."""

from pathlib import Path

import click

from sled_sessions import operate
from sled_sessions.cli import common
from sled_sessions.display.text import size
from sled_sessions.operate.stats import SMALLEST


@click.command()
@common.of_database
def command(database: Path, tree: str, as_json: bool) -> None:
    """Show how much DATABASE holds, its share of the file, and how much has expired.

    sled's file hardly ever shrinks. When `sled-sessions compact` would write one of less than half its size, the last
    line says so.
    """
    with operate.opened_store(database, tree) as store, common.progress_bar("reading") as progress:
        found = operate.stats(store, progress=progress)
    if as_json:
        common.print_json(found)
        return
    common.print_table(("tree", "keys", "bytes"), [(each.name, each.keys, each.size) for each in found.trees])
    disk = str(size(found.bytes_on_disk))
    if found.bytes_on_disk > SMALLEST:  # a smaller file is mostly empty
        disk += f" ({found.live_bytes / found.bytes_on_disk:.0%} of it data)"
    index = "none" if found.resolution is None else f"in steps of {found.resolution.total_seconds():g} s"
    rows = [
        ("data of all trees", size(found.live_bytes)),
        ("on disk", disk),
        ("in blobs", size(found.blob_bytes)),
        ("live sessions", found.sessions),
        ("expired, not yet swept", found.expired),
        ("unreadable records", found.unreadable),
        ("first expiry", found.first_expiry),
        ("last expiry", found.last_expiry),
        ("expiry index", index),
    ]
    click.echo()
    common.print_table(("", ""), rows)
    if found.compacted_bytes is not None:
        times = f"{found.bytes_on_disk / found.live_bytes:,.0f} times the data" if found.live_bytes else "without data"
        click.echo(f"\nThe files are {times}: `sled-sessions compact` would leave about {size(found.compacted_bytes)}.")
