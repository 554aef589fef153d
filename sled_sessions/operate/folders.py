"""Database folders: their format, opening existing ones, and creating ones that appear only when complete."""

import enum
import errno
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import IO

from sled_sessions import sled
from sled_sessions.operate.errors import NoDatabase, OperationError, TargetExists
from sled_sessions.stores.sled import SledStore
from sled_sessions.stores.sled.index import ENTRIES, META, VERSION, index_trees, marker_in


class Format(enum.Enum):
    """The format of a sled database."""

    V0_34 = "0.34"
    V1_0 = "1.0"


def format_of(path: str | PathLike[str]) -> Format:
    """The format of a database, told by its files: each version of sled leaves one that the other does not."""
    folder = Path(path)
    if (folder / "durability_cookie").is_file():
        return Format.V1_0
    if (folder / "conf").is_file() or (folder / "db").is_file():  # other programs have folders of these names
        return Format.V0_34
    problem = "it has no database files" if folder.exists() else "not found"
    raise NoDatabase(f"{folder} is not a sled database: {problem}")


def open_database(path: str | PathLike[str]) -> sled.Db:
    """Open an existing database, where `sled.open` would create a new one."""
    format_of(path)
    return sled.open(path)


@contextmanager
def opened_store(path: str | PathLike[str], tree: str | bytes = "session") -> Iterator[SledStore]:
    """A store on an existing database, with the index that it has, as `kept_store`."""
    with open_database(path) as db:
        yield kept_store(db, tree)


def kept_store(db: sled.Db, tree: str | bytes) -> SledStore:
    """A store on an existing tree, with the index that it has: none is built, changed or dropped.

    Raises:
        OperationError: Also if the index has a newer version.
    """
    name = os.fsencode(tree)
    names = db.tree_names()
    for end in (ENTRIES, META):
        records = name.removesuffix(end)
        if name.endswith(end) and records in names and name in index_trees(db, records):
            raise NoDatabase(
                f"the tree {_text(name)!r} is the expiry index of {_text(records)!r} and holds no sessions"
            )
    if name not in names:
        raise NoDatabase(f"{db.path} has no tree {_text(name)!r}; it has: {', '.join(map(_text, names))}")
    marker = marker_in(db.open_tree(name + META)) if name + META in names else None
    if marker is not None and marker.version != VERSION:
        raise OperationError(
            f"the expiry index of {_text(name)!r} has version {marker.version}, "
            f"but this program knows version {VERSION}: use a newer sled_sessions"
        )
    return SledStore.as_it_is(db.open_tree(name))


def made_store(db: sled.Db, tree: str) -> SledStore:
    """A store to write sessions into, on a tree that is created, with an index, if it is missing."""
    name = os.fsencode(tree)
    return kept_store(db, name) if name in db.tree_names() else SledStore(db.open_tree(name))


def refuse_tree_of_index(tree: str) -> None:
    """Raise OperationError for a tree that is, or would be, the expiry index of another one."""
    if os.fsencode(tree).endswith((ENTRIES, META)):
        raise OperationError(f"{tree!r} is the name of an expiry index: write the sessions into a tree of another name")


def _text(name: bytes) -> str:
    return name.decode(errors="replace")


@contextmanager
def appearing(path: str | PathLike[str], *, like: str | PathLike[str] | None = None) -> Iterator[Path]:
    """A folder to fill, which appears at `path` if the block succeeds, and is removed otherwise.

    Until then it is called `.<name>.….partial`; after a kill or a power cut such a folder is left and can be deleted.
    It gets the permissions of `like`, the folder that it is made from; without that it is for its owner only.
    """
    target = refuse_existing(path)
    if like is not None:
        _refuse_inside(target, like)
    _require_writable(next(filter(Path.exists, target.parents), target.parent))
    # Writable for its owner even if `like` is read-only: sled writes to what it opens.
    mode = 0o700 if like is None else stat.S_IMODE(Path(like).stat().st_mode) | 0o700
    with _parents_of(target) as made:
        partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent))
        try:
            yield partial
            partial.chmod(mode)
            refuse_existing(target)
            # The files are on disk; sync their names, too, or a power cut might leave only some of them at `path`.
            for folder in (partial, *(path for path in partial.rglob("*") if path.is_dir())):
                sync_folder(folder)
            partial.rename(target)
            for folder in (target, *made):
                sync_folder(folder.parent)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise


@contextmanager
def _parents_of(target: Path) -> Iterator[list[Path]]:
    """Create missing parent folders, and remove them if the block fails; yields them."""
    missing = [folder for folder in target.parents if not folder.exists()]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield missing
    except BaseException:
        for folder in missing:
            with suppress(OSError):  # not empty: another program uses it
                folder.rmdir()
        raise


@contextmanager
def copied(path: str | PathLike[str], near: Path) -> Iterator[Path]:
    """A temporary copy of a database's files beside `near`, to be opened in its place: sled writes to what it opens."""
    lock = Path(path) if format_of(path) is Format.V1_0 else Path(path) / "db"
    with tempfile.TemporaryDirectory(prefix=f"{near.name}.", suffix=".partial", dir=near.parent) as place:
        copy = Path(place) / "copy"
        with _locked(lock):
            shutil.copytree(path, copy, copy_function=shutil.copyfile)
        for folder in (copy, *(each for each in copy.rglob("*") if each.is_dir())):
            folder.chmod(0o700)  # the original may be read-only
        yield copy


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock that sled takes on this file or folder, if it exists."""
    if not path.exists():
        yield
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise sled.DatabaseLocked(
                f"another process has the database {path.parent if path.is_file() else path} open: "
                "sled lets one process at a time open a folder"
            ) from None
        yield
    finally:
        os.close(descriptor)


def refuse_existing(path: str | PathLike[str]) -> Path:
    """Return `path`; TargetExists if it exists."""
    target = Path(path)
    if target.exists() or target.is_symlink():
        raise TargetExists(f"{target} exists already and is not overwritten: choose another name")
    return target


def _refuse_inside(target: Path, source: str | PathLike[str]) -> None:
    if target.resolve().is_relative_to(Path(source).resolve()):
        raise OperationError(
            f"{target} is inside the database {source} and would be deleted with it: choose another place"
        )


def _require_writable(folder: Path) -> None:
    if not os.access(folder, os.W_OK):
        raise OperationError(f"{folder} is not writable: change its permissions, or choose another folder")


def partial_file(target: Path) -> Path:
    """The name under which a file is written that appears at `target` when it is complete."""
    return target.with_name(f".{target.name}.partial")


@contextmanager
def appearing_file(
    path: str | PathLike[str], *, source: str | PathLike[str], keep: bool = False, resume: bool = False
) -> Iterator[IO[bytes]]:
    """A file to write and read, which appears at `path`, on disk, if the block succeeds.

    Until then it has the name `partial_file`. It is readable by its owner only, because ids are as good as passwords.
    Symbolic links are not followed.

    Args:
        path: The file to create.
        source: The folder of the database that it is made from.
        keep: Keep the partial file if the block fails.
        resume: Continue an existing partial file instead of removing it.
    """
    target = refuse_existing(path)  # this and the other checks come before there is a partial file
    _refuse_inside(target, source)
    if not target.parent.is_dir():
        raise OperationError(f"there is no folder {target.parent} for {target.name}")
    _require_writable(target.parent)
    partial = partial_file(target)
    if resume and partial.is_symlink():
        raise OperationError(f"{partial} cannot be resumed, delete it: it is a symbolic link")
    if not resume:
        partial.unlink(missing_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | (0 if resume else os.O_EXCL)
    try:
        with open(partial, "r+b", opener=lambda path, _: os.open(path, flags, 0o600)) as file:
            os.fchmod(file.fileno(), 0o600)  # a file that is continued may have other permissions
            yield file
            file.flush()
            os.fsync(file.fileno())
        refuse_existing(target)
        partial.rename(target)
        sync_folder(target.parent)
    except BaseException:
        if not keep:
            partial.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Sync the names in a folder, so that they survive a power cut, where permissions and file system allow it."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EINVAL, errno.ENOTSUP):
            raise
