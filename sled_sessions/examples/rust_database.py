"""A database that a Rust program wrote with `tower-sessions-sled-store` 0.2: 60 sessions, every tenth long expired."""

import tarfile
from os import PathLike
from pathlib import Path

_ARCHIVE = Path(__file__).with_name("rust_database.tar.gz")


def unpack(folder: str | PathLike[str]) -> Path:
    """Put the database into a folder, and return its own one below that, ready for `SledStore.open`."""
    with tarfile.open(_ARCHIVE) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # which Python 3.11.2, Debian's, has not
        archive.extractall(folder)  # noqa: S202 - what it holds is known
    return Path(folder) / "storage"
