"""A database written by the Rust crate `tower-sessions-sled-store` 0.2: 60 sessions, every tenth expired."""

import tarfile
from os import PathLike
from pathlib import Path

_ARCHIVE = Path(__file__).with_name("rust_database.tar.gz")


def unpack(folder: str | PathLike[str]) -> Path:
    """Unpack the database into a new folder below `folder`, and return its path for `SledStore.at`.

    Raises:
        FileExistsError: `folder` has a `storage` already.
    """
    storage = Path(folder) / "storage"
    storage.mkdir(0o700)
    with tarfile.open(_ARCHIVE) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # Debian's Python 3.11.2 does not have it
        archive.extractall(folder)  # noqa: S202 - our own archive
    for path in (storage, *storage.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
    return storage
