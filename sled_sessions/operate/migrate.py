"""From sled 0.34's format on disk to that of sled 1.0, and back."""

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

    `old` is not even opened, for sled writes to what it opens: its files are copied under its lock, and the copy is
    read. `new` appears when everything is in it, on disk and compared. O(n log n), in bounded memory; the disk needs
    room for `new` and for another `old`. What sled itself keeps, such as the counter behind `generate_id`, starts anew.

    Args:
        old: The database; nobody may have it open.
        new: The folder to make.
        to: The format that `new` shall have.
        progress: Told how many keys were handled: each is written once and read back once.

    Raises:
        NoDatabase: `old` is none.
        OperationError: `old` has that format already; `new` would lie inside of it, or where nothing may be written.
        TargetExists: `new` is there already.
        ContentsDiffer: What was written could not be read back.
        sled.SledError: A folder could not be opened, read or written.
    """
    if format_of(old) is to:
        copying = "sled-sessions compact makes a copy" if to is Format.V0_34 else "to copy it, copy the folder"
        raise OperationError(f"{old} is of sled {to.value} already; {copying}")
    with appearing(new, like=old) as folder:
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
    except sled.Corruption as error:  # the copy is deleted soon
        raise sled.Corruption(str(error).replace(str(copy.resolve()), str(old))) from None


def _open(folder: str | PathLike[str], version: Format) -> sled.Db | v1.Db:
    return v1.Db(folder) if version is Format.V1_0 else sled.open(folder)
