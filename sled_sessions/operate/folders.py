"""Database folders: their format, opening existing ones, and creating ones that appear only when complete."""

import enum
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path

from sled_sessions import sled
from sled_sessions.operate.errors import NoDatabase, OperationError
from sled_sessions.operate.files import (
    copy_folder,
    make_folder,
    open_file,
    refuse_existing,
    refuse_inside,
    require_writable,
    sync_folder,
)
from sled_sessions.stores.sled import SledStore
from sled_sessions.stores.sled.index import ENTRIES, META, VERSION, index_trees, marker_in
from sled_sessions.stores.sled.rotated import ROTATED, is_tree_of_marks

_PARTIAL = ".partial"


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
    if is_tree_of_marks(db, name):
        raise NoDatabase(
            f"the tree {_text(name)!r} holds marks of ids that {_text(name.removesuffix(ROTATED))!r} has changed, "
            "and no sessions"
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
    """Raise OperationError for a tree that is, or would be, the expiry index of another one, or its marks."""
    if os.fsencode(tree).endswith((ENTRIES, META, ROTATED)):
        what = "an expiry index" if not tree.endswith(os.fsdecode(ROTATED)) else "the marks of changed ids"
        raise OperationError(f"{tree!r} is the name of {what}: write the sessions into a tree of another name")


def _text(name: bytes) -> str:
    return name.decode(errors="replace")


@contextmanager
def appearing(path: str | PathLike[str], *, source: str | PathLike[str] | None = None) -> Iterator[Path]:
    """A folder to fill, which appears at `path` if the block succeeds, and is removed otherwise.

    Until then it is called `.<name>.<process>.….partial`; after a kill or a power cut such a folder is left and can be
    deleted. It is for its owner only, whatever the permissions of `source`, from which it is made.
    """
    target = refuse_existing(path)
    if source is not None:
        refuse_inside(target, source)
    require_writable(next(filter(Path.exists, target.parents), target.parent))
    with _parents_of(target) as parents:
        prefix = _partial_prefix(target, os.getpid())
        partial = Path(tempfile.mkdtemp(prefix=prefix, suffix=_PARTIAL, dir=target.parent))
        try:
            partial.chmod(0o700)  # whatever the umask
            yield partial
            refuse_existing(target)
            # The files are on disk; sync their names, too, or a power cut might leave only some of them at `path`.
            for made in (partial, *partial.rglob("*")):
                made.chmod(0o700 if made.is_dir() else 0o600)  # sled creates some with the umask's permissions
                if made.is_dir():
                    sync_folder(made)
            partial.rename(target)
            for folder in (target, *parents):
                sync_folder(folder.parent)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise


def remove_partial_folders(path: str | PathLike[str], process: int) -> None:
    """Remove what a process that has crashed left of a folder that was to appear at `path`."""
    target = Path(path)
    with suppress(OSError):
        for folder in list(target.parent.iterdir()):
            if folder.name.startswith(_partial_prefix(target, process)) and folder.name.endswith(_PARTIAL):
                shutil.rmtree(folder, ignore_errors=True)


def _partial_prefix(target: Path, process: int) -> str:
    return f".{target.name}.{process}."


@contextmanager
def _parents_of(target: Path) -> Iterator[list[Path]]:
    """Create missing parent folders, and remove them if the block fails; yields them."""
    missing = [folder for folder in target.parents if not folder.exists()]
    try:
        for folder in reversed(missing):
            with suppress(FileExistsError):  # another process was faster, or the path has a `..`
                make_folder(folder)
        yield missing
    except BaseException:
        for folder in missing:
            with suppress(OSError):  # not empty: another program uses it
                folder.rmdir()
        raise


@contextmanager
def copied(path: str | PathLike[str], near: Path) -> Iterator[Path]:
    """A temporary copy of a database's files beside `near`, to be opened in its place: sled writes to what it opens."""
    is_v1 = format_of(path) is Format.V1_0
    with tempfile.TemporaryDirectory(prefix=f"{near.name}.", suffix=_PARTIAL, dir=near.parent) as place:
        copy = Path(place) / "copy"
        with _locked(Path(path), is_v1=is_v1):
            copy_folder(Path(path), copy)
        yield copy


@contextmanager
def _locked(database: Path, *, is_v1: bool) -> Iterator[None]:
    """Hold the lock that sled takes: 1.0 on the folder, 0.34 on its file db, if that exists."""
    try:
        if is_v1:
            descriptor = os.open(database, os.O_RDONLY | os.O_DIRECTORY)
        else:
            with open_file(database / "db", advice="sled does not make such a database") as file:
                descriptor = os.dup(file.fileno())
    except FileNotFoundError:
        yield
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise sled.DatabaseLocked(
                f"another process has the database {database} open: sled lets one process at a time open a folder"
            ) from None
        yield
    finally:
        os.close(descriptor)


def is_readable_by_others(path: str | PathLike[str]) -> bool:
    """Whether users other than the owner and the group can read a database's files."""
    folder = Path(path).resolve()
    if not all(each.stat().st_mode & stat.S_IXOTH for each in (folder, *folder.parents)):
        return False
    return any(each.lstat().st_mode & stat.S_IROTH and each.is_file() for each in folder.iterdir())
