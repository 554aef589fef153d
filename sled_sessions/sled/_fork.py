"""What a forked child has to do: sled's threads stay behind, and so must the folder's lock."""

import contextlib
import os

from sled_sessions.sled import _native


def after_fork_in_child() -> None:
    """Refuse sled's calls from now on, and give up the inherited locks.

    A file lock lives until every copy of its descriptor is closed: without this, a worker process that never uses the
    database would keep the folder locked after its parent has closed it. Which descriptors are sled's cannot be told:
    those that the program itself has of the same files are closed, too.
    """
    for path in _native.after_fork_in_child():
        with contextlib.suppress(OSError):
            file = path.stat()
            for descriptor in map(int, os.listdir("/dev/fd")):
                with contextlib.suppress(OSError):
                    if os.path.samestat(os.fstat(descriptor), file):
                        os.close(descriptor)
