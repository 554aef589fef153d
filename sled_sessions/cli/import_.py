"""`sled-sessions import`."""

from pathlib import Path
from typing import IO

import click

from sled_sessions import operate, sled
from sled_sessions.cli import common
from sled_sessions.display.text import plural


@click.command("import")
@common.of_database
@click.argument("file", type=click.File("rb"))
@click.option("--replace", is_flag=True, help="Overwrite existing sessions; by default they are left alone.")
def command(database: Path, file: IO[bytes], tree: str, replace: bool, as_json: bool) -> int:
    """Read sessions from FILE, of JSON Lines, into DATABASE, created if missing; - is standard input.

    After an interruption, run it again: sessions that were imported already are not written twice. The exit code is 3
    if a session was left out because it is larger than a store's default limit.
    """
    operate.refuse_tree_of_index(tree)
    lines = operate.checked_lines(file)
    with sled.open(database) as db, common.progress_bar("importing") as progress:
        store = operate.made_store(db, tree)
        size = Path(file.name).stat().st_size if Path(file.name).is_file() else None
        report = operate.import_sessions(store, lines, replace=replace, progress=lambda done: progress(done, size))
    unreadable = f", {report.unreadable:,} of them unreadable" if report.unreadable else ""
    text = f"{plural(report.written, 'session')} written{unreadable}; {report.kept:,} existed already"
    if report.too_large:
        text += f"; {report.too_large:,} left out, larger than {store.max_record_bytes:,} bytes"
    common.print_result(report, text, as_json=as_json)
    return common.FOUND if report.too_large else 0
