"""Getting disk space back: sled reuses the space of deleted data, but its file hardly ever shrinks."""

from os import PathLike

import attrs

from sled_sessions import sled
from sled_sessions.operate.contents import Contents, Reading, contents_of
from sled_sessions.operate.folders import appearing, open_database
from sled_sessions.stores.sweep import Progress


@attrs.frozen
class CompactReport:
    """What `compact` copied, and the bytes on disk of the old folder and of the new one."""

    contents: Contents
    size_before: int
    size_after: int


def compact(old: str | PathLike[str], new: str | PathLike[str], *, progress: Progress | None = None) -> CompactReport:
    """Copy all trees into a new folder, without the space of deleted data, and compare the two.

    O(n log n), in bounded memory. `new` appears when it is complete and on disk; `old` is left alone.
    """
    with open_database(old) as source, appearing(new, source=old) as folder:
        reading = Reading(source.export(), progress)
        with sled.open(folder) as target:
            target.import_(reading)
        written = reading.contents()
        with sled.open(folder) as target:
            written.require(contents_of(target.export(), progress, written.pairs), str(new))
            return CompactReport(contents=written, size_before=source.size_on_disk(), size_after=target.size_on_disk())
