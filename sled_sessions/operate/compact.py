"""Getting disk space back: sled reuses the space of what was deleted, but its file never gets smaller."""

from os import PathLike

import attrs

from sled_sessions import sled
from sled_sessions.operate.contents import Contents, Reading, contents_of
from sled_sessions.operate.folders import appearing, open_database
from sled_sessions.stores.sweep import Progress


@attrs.frozen
class CompactReport:
    """What `compact` did.

    Attributes:
        contents: What was copied.
        size_before: Bytes on disk of the old folder.
        size_after: Bytes on disk of the new one.
    """

    contents: Contents
    size_before: int
    size_after: int


def compact(old: str | PathLike[str], new: str | PathLike[str], *, progress: Progress | None = None) -> CompactReport:
    """Copy all trees into a new folder, without the space of deleted data; compare the two; leave the old one alone.

    O(n log n), in bounded memory. `new` appears when everything is in it and on disk.

    Args:
        old: The database; nobody may have it open.
        new: The folder to make.
        progress: Told how many keys were handled: each is written once and read back once.

    Raises:
        NoDatabase: `old` is none.
        OperationError: `new` would lie inside of `old`, or where nothing may be written.
        TargetExists: `new` is there already.
        ContentsDiffer: What was written could not be read back.
        sled.SledError: A folder could not be opened, read or written.
    """
    with open_database(old) as source, appearing(new, like=old) as folder:
        reading = Reading(source.export(), progress)
        with sled.open(folder) as target:
            target.import_(reading)
        written = reading.contents()
        with sled.open(folder) as target:
            written.require(contents_of(target.export(), progress, written.pairs), str(new))
            return CompactReport(contents=written, size_before=source.size_on_disk(), size_after=target.size_on_disk())
