"""`sled-sessions export`, `import`, `backup`, `restore`, `compact`, `migrate` and `salvage`: whole databases."""

import sys
from pathlib import Path
from typing import IO

import attrs
import click

from sled_sessions import operate, sled
from sled_sessions.cli.common import (
    FOUND,
    LocalPath,
    database_argument,
    json_option,
    megabytes,
    print_json,
    progress_bar,
    tree_option,
)
from sled_sessions.display.text import plural
from sled_sessions.operate import Contents, Format, made_store, partial_file, refuse_tree_of_index

old_argument = click.argument("old", type=LocalPath(path_type=Path))
new_argument = click.argument("new", type=LocalPath(path_type=Path))


@click.command("export")
@database_argument
@click.argument("file", type=LocalPath())
@tree_option
@click.option("--resume", is_flag=True, help="Go on with an export to FILE that was interrupted.")
@json_option
def export_sessions(database: Path, file: str, tree: str, resume: bool, as_json: bool) -> None:
    """Write all sessions of DATABASE into FILE as JSON Lines, with whole ids and secrets; - is the standard output."""
    if file == "-" and (resume or as_json):
        raise click.UsageError("--resume and --json are for an export into a file, not for -")
    with operate.opened_store(database, tree) as store:
        if file == "-":
            for line in operate.export_lines(store.tree):
                sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
            return
        try:
            with progress_bar("exporting") as progress:
                count = operate.export_sessions(store.tree, file, resume=resume, progress=progress)
        except KeyboardInterrupt:
            partial = partial_file(Path(file))
            if not partial.exists():  # before the first session, or after the last
                raise
            raise click.exceptions.Abort(f"{partial} is left, with sessions in it; --resume goes on with it") from None
    if as_json:
        print_json({"sessions": count})
    else:
        click.echo(f"{plural(count, 'session')} written to {file}")


@click.command("import")
@database_argument
@click.argument("file", type=click.File("rb"))
@tree_option
@click.option("--replace", is_flag=True, help="Overwrite sessions that are there; by default they are left alone.")
@json_option
def import_sessions(database: Path, file: IO[bytes], tree: str, replace: bool, as_json: bool) -> None:
    """Read sessions from JSON Lines into DATABASE, made if missing; - is the standard input.

    After an interruption start it again: what is there already is not written twice.
    """
    refuse_tree_of_index(tree)
    lines = operate.checked_lines(file)
    with sled.open(database) as db, progress_bar("importing") as progress:
        store = made_store(db, tree)
        size = Path(file.name).stat().st_size if Path(file.name).is_file() else None
        report = operate.import_sessions(store, lines, replace=replace, progress=lambda done: progress(done, size))
    if as_json:
        print_json(attrs.asdict(report))
    else:
        unreadable = f", {report.unreadable:,} of them unreadable" if report.unreadable else ""
        click.echo(f"{plural(report.written, 'session')} written{unreadable}; {report.kept:,} there already")


@click.command()
@database_argument
@click.argument("file", type=LocalPath(path_type=Path))
@json_option
def backup(database: Path, file: Path, as_json: bool) -> None:
    """Save all of DATABASE in FILE, and read it back. A running program calls sled_sessions.operate.backup instead."""
    with operate.open_database(database) as db, progress_bar("saving") as progress:
        contents = operate.backup(db, file, progress=progress)
    _tell(contents, f"saved in {file}", as_json=as_json)


@click.command()
@click.argument("file", type=LocalPath(path_type=Path))
@new_argument
@json_option
def restore(file: Path, new: Path, as_json: bool) -> None:
    """Make the folder NEW of the backup FILE, and compare the two; never over a folder that exists."""
    with progress_bar("restoring") as progress:
        contents = operate.restore(file, new, progress=progress)
    _tell(contents, f"restored to {new}", as_json=as_json)


@click.command()
@old_argument
@new_argument
@json_option
def compact(old: Path, new: Path, as_json: bool) -> None:
    """Copy the database OLD to the folder NEW without the space of deleted data, and compare the two."""
    with progress_bar("copying") as progress:
        report = operate.compact(old, new, progress=progress)
    if as_json:
        print_json(attrs.asdict(report))
        return
    _tell(report.contents, f"copied to {new}", as_json=False)
    click.echo(f"{megabytes(report.size_before)} before, {megabytes(report.size_after)} now")


@click.command()
@old_argument
@new_argument
@click.option("--to", type=click.Choice([each.value for each in Format]), required=True, help="sled's version.")
@json_option
def migrate(old: Path, new: Path, to: str, as_json: bool) -> None:
    """Copy the database OLD to the folder NEW in the format of another version of sled, and compare the two.

    OLD is only read. NEW appears when every tree, key and value is in it.
    """
    with progress_bar("migrating") as progress:
        contents = operate.migrate(old, new, Format(to), progress=progress)
    _tell(contents, f"migrated to {new}, which is of sled {to}", as_json=as_json)


@click.command()
@old_argument
@new_argument
@click.option(
    "--tree", default="session", show_default=True, help="Where sessions go that are found outside of any tree."
)
@json_option
def salvage(old: Path, new: Path, tree: str, as_json: bool) -> int:
    """Copy whatever can still be read of the damaged database OLD to the folder NEW. OLD is only read."""
    refuse_tree_of_index(tree)
    with progress_bar("reading") as progress:
        report = operate.salvage(old, new, tree=tree, progress=progress)
    if as_json:
        print_json(attrs.asdict(report))
    else:
        _tell(report.contents, f"copied to {new}", as_json=False)
        click.echo(
            f"could not read {plural(report.lost, 'place')}; found {plural(report.recovered, 'session')} outside of "
            f"any tree, and dropped {plural(report.dropped, 'other key')}"
        )
    return FOUND if report.is_incomplete else 0


def _tell(contents: Contents, what: str, *, as_json: bool) -> None:
    if as_json:
        print_json(attrs.asdict(contents))
    else:
        click.echo(
            f"{plural(contents.pairs, 'key')} in {plural(contents.trees, 'tree')}, {megabytes(contents.size)}, "
            f"checksum {contents.checksum}: {what}"
        )
