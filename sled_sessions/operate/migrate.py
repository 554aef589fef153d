"""Conversion between the formats of sled 0.34 and sled 1.0."""

from os import PathLike
from pathlib import Path

from sled_sessions import sled
from sled_sessions.operate.contents import Contents, Reading, contents_of
from sled_sessions.operate.errors import OperationError
from sled_sessions.operate.folders import Format, appearing, copied, format_of
from sled_sessions.sled import v1
from sled_sessions.stores.sweep import Progress


def migrate(
    old: str | PathLike[str], new: str | PathLike[str], to: Format, *, progress: Progress | None = None
) -> Contents:
    """Copy all trees into a folder of another format, read them back, and compare count and checksum.

    `old` is not opened, because sled writes to what it opens: its files are copied under its lock, and the copy is
    read. `new` appears when it is complete, on disk and compared. O(n log n), in bounded memory; the disk needs room
    for `new` and for a second `old`. sled's own state, such as the counter behind `generate_id`, starts anew.

    Raises:
        OperationError: Also if `old` has the format `to` already.
    """
    if format_of(old) is to:
        copying = "sled-sessions compact makes a copy" if to is Format.V0_34 else "to copy it, copy the folder"
        raise OperationError(f"{old} has the format of sled {to.value} already; {copying}")
    with appearing(new, source=old) as folder:
        with copied(old, near=folder) as readable, _open_copy(readable, old) as source:
            reading = Reading(source.export(), progress)
            with _open(folder, to) as target:
                target.import_(reading)
        written = reading.contents()
        with _open(folder, to) as target:
            return written.require(contents_of(target.export(), progress, written.pairs), str(new))


def _open_copy(copy: Path, old: str | PathLike[str]) -> sled.Db | v1.Db:
    try:
        return _open(copy, format_of(copy))
    except sled.Corruption as error:  # name the original: the copy is about to be deleted
        raise sled.Corruption(str(error).replace(str(copy.resolve()), str(old))) from None


def _open(folder: str | PathLike[str], version: Format) -> sled.Db | v1.Db:
    return v1.Db(folder) if version is Format.V1_0 else sled.open(folder)
