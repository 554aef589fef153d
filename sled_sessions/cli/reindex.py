"""`sled-sessions reindex`."""

from pathlib import Path

import click

from sled_sessions import SledStore
from sled_sessions.cli import common
from sled_sessions.display.text import plural
from sled_sessions.operate import kept_store, open_database


@click.command()
@common.of_database
def command(database: Path, tree: str, as_json: bool) -> None:
    """Rebuild the expiry index of DATABASE, after a program in Rust wrote to it, or build one if it has none."""
    with open_database(database) as db, common.progress_bar("indexing") as progress:
        store = kept_store(db, tree)
        try:
            if store.resolution is not None:
                report = store.rebuild_index(progress)
            else:
                store = SledStore(store.tree, progress=progress)  # builds the index
                report = store.verify_index()
        except KeyboardInterrupt:
            if store.resolution is not None:  # the index is complete
                raise
            raise click.exceptions.Abort(
                "the database has no expiry index now; run sled-sessions reindex again"
            ) from None
        store.flush(fsync=True)
    text = f"{plural(report.records, 'session')}, {report.undecodable:,} unreadable, {report.seconds:.1f} s"
    common.print_result(report, text, as_json=as_json)
