"""Database folders: which format they have, opening one that exists, and making one that appears only when whole."""

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
    """The formats of sled that a folder may have."""

    V0_34 = "0.34"
    V1_0 = "1.0"


def format_of(path: str | PathLike[str]) -> Format:
    """Look at a folder's files; each version of sled leaves one that the other does not have.

    Raises:
        NoDatabase: No database is there.
    """
    folder = Path(path)
    if (folder / "durability_cookie").is_file():
        return Format.V1_0
    if (folder / "conf").is_file() or (folder / "db").is_file():  # many a project has a folder of such a name
        return Format.V0_34
    raise NoDatabase(f"{folder} is no sled database: {'it has no database files' if folder.exists() else 'not found'}")


def open_database(path: str | PathLike[str]) -> sled.Db:
    """Open a database that exists, where `sled.open` would make a new one.

    Raises:
        NoDatabase: None is there.
        sled.SledError: It could not be opened; `sled.open` lists the reasons.
    """
    format_of(path)
    return sled.open(path)


@contextmanager
def opened_store(path: str | PathLike[str], tree: str | bytes = "session") -> Iterator[SledStore]:
    """A store on a database that exists; `kept_store` says what becomes of its index.

    Raises:
        NoDatabase: There is no database, or no such tree in it.
        OperationError: Its index is of a newer version.
        sled.SledError: It could not be opened; `sled.open` lists the reasons.
    """
    with open_database(path) as db:
        yield kept_store(db, tree)


def kept_store(db: sled.Db, tree: str | bytes) -> SledStore:
    """A store on a tree that exists, with the index that it has: none is built, changed or dropped.

    Raises:
        NoDatabase: There is no such tree, or it is that of an index.
        OperationError: The index is of a newer version.
    """
    name = os.fsencode(tree)
    names = db.tree_names()
    for end in (ENTRIES, META):
        records = name.removesuffix(end)
        if name.endswith(end) and records in names and name in index_trees(db, records):
            raise NoDatabase(
                f"the tree {_text(name)!r} is the expiry index of {_text(records)!r}, and holds no sessions"
            )
    if name not in names:
        raise NoDatabase(f"{db.path} has no tree {_text(name)!r}; it has: {', '.join(map(_text, names))}")
    marker = marker_in(db.open_tree(name + META)) if name + META in names else None
    if marker is not None and marker.version != VERSION:
        raise OperationError(
            f"the expiry index of {_text(name)!r} has version {marker.version}, "
            f"and this program knows version {VERSION}: use a newer sled_sessions"
        )
    return SledStore.as_it_is(db.open_tree(name))


def made_store(db: sled.Db, tree: str) -> SledStore:
    """A store on a tree, which is made, with an index, if it is missing: to write sessions into."""
    name = os.fsencode(tree)
    return kept_store(db, name) if name in db.tree_names() else SledStore(db.open_tree(name))


def refuse_tree_of_index(tree: str) -> None:
    """Write no sessions into a tree that is the expiry index of another one, or lies where that one would have it.

    Raises:
        OperationError: Its name is that of an index.
    """
    if os.fsencode(tree).endswith((ENTRIES, META)):
        raise OperationError(f"the name {tree!r} is that of an expiry index: sessions go into a tree of another name")


def _text(name: bytes) -> str:
    return name.decode(errors="replace")


@contextmanager
def appearing(path: str | PathLike[str], *, like: str | PathLike[str] | None = None) -> Iterator[Path]:
    """A folder to fill, which appears at `path` when the block ends well, and vanishes when it does not.

    Until then it is called `.<name>.….partial`; after a kill or a power cut one of that name is left, to be deleted.

    Args:
        path: The folder to make.
        like: The folder whose sessions it will hold: the same people may look into both. Without it, the owner only.

    Raises:
        TargetExists: Something is there already.
        OperationError: It would lie in a folder that may not be written to, or inside of `like`.
    """
    target = refuse_existing(path)
    if like is not None:
        _refuse_inside(target, like)
    _require_writable(next(filter(Path.exists, target.parents), target.parent))
    # The owner may write to it, be `like` read-only: sled writes to what it opens.
    mode = 0o700 if like is None else stat.S_IMODE(Path(like).stat().st_mode) | 0o700
    with _parents_of(target) as made:
        partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent))
        try:
            yield partial
            partial.chmod(mode)
            refuse_existing(target)
            # The files are on the disk, and now their names are: else a power cut might leave less of them at `path`.
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
    """Make the folders on the way that are missing, and take them back if the block fails; yields them."""
    missing = [folder for folder in target.parents if not folder.exists()]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield missing
    except BaseException:
        for folder in missing:
            with suppress(OSError):  # if somebody has put something there
                folder.rmdir()
        raise


@contextmanager
def copied(path: str | PathLike[str], near: Path) -> Iterator[Path]:
    """A copy of a database's files for as long as the block runs: sled writes to what it opens, and this must not.

    Args:
        path: The database.
        near: A folder beside which the copy has room.

    Raises:
        NoDatabase: There is no database.
        sled.DatabaseLocked: Somebody has it open.
    """
    lock = Path(path) if format_of(path) is Format.V1_0 else Path(path) / "db"
    with tempfile.TemporaryDirectory(prefix=f"{near.name}.", suffix=".partial", dir=near.parent) as place:
        copy = Path(place) / "copy"
        with _locked(lock):
            shutil.copytree(path, copy, copy_function=shutil.copyfile)
        for folder in (copy, *(each for each in copy.rglob("*") if each.is_dir())):
            folder.chmod(0o700)  # be the original read-only
        yield copy


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock that sled takes on this file or folder; where it is missing there is nothing to lock."""
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
    """Return `path`, if nothing is there yet.

    Raises:
        TargetExists: Something is there already.
    """
    target = Path(path)
    if target.exists() or target.is_symlink():
        raise TargetExists(f"{target} exists already, and nothing is written over: choose another name")
    return target


def _refuse_inside(target: Path, source: str | PathLike[str]) -> None:
    if target.resolve().is_relative_to(Path(source).resolve()):
        raise OperationError(
            f"{target} lies inside of the database {source}, and would go with it: choose another place"
        )


def _require_writable(folder: Path) -> None:
    if not os.access(folder, os.W_OK):
        raise OperationError(f"nothing can be made in {folder}: make that folder writable, or choose another")


def partial_file(target: Path) -> Path:
    """Where a file is written that appears at `target` when it is whole."""
    return target.with_name(f".{target.name}.partial")


@contextmanager
def appearing_file(
    path: str | PathLike[str], *, source: str | PathLike[str], keep: bool = False, resume: bool = False
) -> Iterator[IO[bytes]]:
    """A file to write and read, which appears at `path`, on the disk, when the block ends well.

    Until then `partial_file` says what it is called. It is for its owner only: whoever reads it holds the sessions.
    What a symbolic link leads to is never written to.

    Args:
        path: The file to make.
        source: The folder of the database that it will be made of.
        keep: Leave the partial file when the block fails.
        resume: Go on with the partial file that is there, instead of removing it.

    Raises:
        TargetExists: Something is there already.
        OperationError: Its folder is missing, or may not be written to, or it would lie inside of `source`; or the file
            to go on with is a symbolic link.
        OSError: It could not be opened, or belongs to somebody else.
    """
    target = refuse_existing(path)  # found out, like the rest, before there is a partial file to tell about
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
            os.fchmod(file.fileno(), 0o600)  # one to go on with may have been made by others
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
    """Let the names in a folder survive a power cut, if it lets us, and its file system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EINVAL, errno.ENOTSUP):
            raise
