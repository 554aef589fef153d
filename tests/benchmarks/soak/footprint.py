"""The files of a database, and the memory of a process."""

import os
from pathlib import Path

import attrs


@attrs.frozen
class Footprint:
    """The files of a database: bytes that they occupy on disk, and their number; `blobs` are among them."""

    bytes: int
    files: int
    blobs: int
    blob_bytes: int

    @classmethod
    def of(cls, folder: Path) -> "Footprint":
        """Measure a folder, which a process may be writing to."""
        main, blobs = _sizes(folder), _sizes(folder / "blobs")
        return cls(sum(main) + sum(blobs), len(main) + len(blobs), len(blobs), sum(blobs))


def _sizes(folder: Path) -> list[int]:
    sizes = []
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                if entry.is_file():
                    sizes.append(entry.stat().st_blocks * 512)
            except FileNotFoundError:  # deleted since it was listed
                continue
    return sizes


def resident() -> int:
    """Resident bytes of this process; 0 without `/proc`."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))
