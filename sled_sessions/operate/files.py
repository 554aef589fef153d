"""Reading and writing files: regular ones only, never through a symbolic link, and readable by their owner only."""

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import IO

from sled_sessions.operate.errors import OperationError, TargetExists

_CHUNK = 1 << 20
"""Bytes that are copied between two checks for Ctrl-C."""


def refuse_existing(path: str | PathLike[str]) -> Path:
    """Return `path`; TargetExists if it exists."""
    target = Path(path)
    if target.exists() or target.is_symlink():
        raise TargetExists(f"{target} exists already and is not overwritten: choose another name")
    return target


def refuse_inside(target: Path, source: str | PathLike[str]) -> None:
    """Raise OperationError if `target` is in the folder `source`, and would be copied and deleted with it."""
    if target.resolve().is_relative_to(Path(source).resolve()):
        raise OperationError(
            f"{target} is inside the database {source} and would be deleted with it: choose another place"
        )


def require_writable(folder: Path) -> None:
    """Raise OperationError if nothing can be created in a folder."""
    if not os.access(folder, os.W_OK):
        raise OperationError(f"{folder} is not writable: change its permissions, or choose another folder")


def partial_file(target: Path) -> Path:
    """The name under which a file is written that appears at `target` when it is complete."""
    return target.with_name(f".{target.name}.partial")


@contextmanager
def appearing_file(
    path: str | PathLike[str],
    *,
    source: str | PathLike[str] | None = None,
    replace: bool = False,
    keep: bool = False,
    resume: bool = False,
) -> Iterator[IO[bytes]]:
    """A file to write and read, which appears at `path`, on disk, if the block succeeds.

    Until then it has the name `partial_file`. It is readable by its owner only, because ids are as good as passwords.
    No other user can have it open: it is new, or was always private.

    Args:
        path: The file to create.
        source: The folder of the database that it is made from.
        replace: Let it take the place of an existing file, or of a symbolic link.
        keep: Keep the partial file if the block fails, unless it is empty.
        resume: Continue an existing partial file instead of removing it.
    """
    target = Path(path) if replace else refuse_existing(path)  # the checks come before there is a partial file
    if source is not None:
        refuse_inside(target, source)
    if not target.parent.is_dir():
        raise OperationError(f"there is no folder {target.parent} for {target.name}")
    require_writable(target.parent)
    partial = partial_file(target)
    opened = _opened_partial(partial, resume=resume)
    try:
        with opened as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if not replace:
            refuse_existing(target)
        partial.rename(target)
        sync_folder(target.parent)
    except BaseException:
        if not keep or (partial.is_file() and not partial.stat().st_size):
            partial.unlink(missing_ok=True)
        raise


def _opened_partial(partial: Path, *, resume: bool) -> IO[bytes]:
    if resume and os.path.lexists(partial):
        return _resumed(partial)
    partial.unlink(missing_ok=True)
    return _new_file(partial)


def _resumed(partial: Path) -> IO[bytes]:
    """The file itself, or a copy in its place if another user may have it open, or it has another name."""
    advice = "it cannot be resumed, delete it"
    old = open_file(partial, os.O_RDWR, advice=advice)
    status = os.fstat(old.fileno())
    if not status.st_mode & 0o077 and status.st_nlink == 1 and status.st_uid == os.geteuid():
        return old
    with old:
        if status.st_uid != os.geteuid():
            raise OperationError(f"{partial} belongs to another user: {advice}")
        partial.unlink()
        file = _new_file(partial)
        shutil.copyfileobj(old, file)
    file.seek(0)
    return file


def open_file(path: str | PathLike[str], flags: int = os.O_RDONLY, *, advice: str) -> IO[bytes]:
    """Open an existing regular file: neither through a symbolic link nor waiting for the other end of a FIFO.

    Raises:
        OperationError: It is not a regular file; the message ends with `advice`.
    """
    flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
    try:
        file = open(path, "r+b" if flags & os.O_RDWR else "rb", opener=lambda path, _: os.open(path, flags))  # noqa: SIM115 - returned
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENXIO, errno.EISDIR, errno.ESPIPE):
            raise
        what = "a symbolic link" if os.path.islink(path) else "not a regular file"
        raise OperationError(f"{path} is {what}: {advice}") from None
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OperationError(f"{path} is not a regular file: {advice}")
    return file


def _new_file(path: Path) -> IO[bytes]:
    """Create a file that only its owner can open."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
    file = open(path, "r+b", opener=lambda path, _: os.open(path, flags, 0o600))  # noqa: SIM115 - returned
    os.fchmod(file.fileno(), 0o600)  # whatever the umask
    return file


def make_folder(path: Path) -> None:
    """Create a folder that only its owner can enter."""
    path.mkdir(0o700)
    path.chmod(0o700)  # whatever the umask


def copy_folder(source: Path, target: Path) -> None:
    """Copy a folder's files into a new one; holes in sparse files stay holes. Ctrl-C ends it soon.

    Raises:
        OperationError: It contains something else than folders and regular files.
    """
    folders = [(source, target)]
    for folder, copy in folders:
        make_folder(copy)
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                folders.append((path, copy / path.name))
            else:
                _copy_file(path, copy / path.name)


def _copy_file(source: Path, target: Path) -> None:
    advice = "only regular files are copied; move it out of the folder"
    with open_file(source, advice=advice) as old, _new_file(target) as new:
        length = os.fstat(old.fileno()).st_size
        new.truncate(length)
        for start, end in _data(old.fileno(), length):
            while start < end and (chunk := os.pread(old.fileno(), min(_CHUNK, end - start), start)):
                start += os.pwrite(new.fileno(), chunk, start)


def _data(descriptor: int, length: int) -> Iterator[tuple[int, int]]:
    """Where a file has data, as starts and ends."""
    end = 0
    while end < length:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
            end = os.lseek(descriptor, start, os.SEEK_HOLE)
        except OSError as error:
            if error.errno != errno.ENXIO:  # the file system does not know holes
                yield end, length
            return
        yield start, end


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
