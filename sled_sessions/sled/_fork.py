"""What a forked child must do: stop using sled, and give up its copies of the folder's lock."""

import contextlib
import os

from sled_sessions.sled import _native


def after_fork_in_child() -> None:
    """Make sled's calls raise ForkedProcess, and close the inherited descriptors that hold locks.

    A file lock lasts until every copy of its descriptor is closed. Without this, a worker process that never uses the
    database would keep the folder locked after its parent has closed it. sled's descriptors cannot be told from the
    program's own descriptors of the same files, so those are closed too.
    """
    for path in _native.after_fork_in_child():
        with contextlib.suppress(OSError):
            file = path.stat()
            for descriptor in map(int, os.listdir("/dev/fd")):
                with contextlib.suppress(OSError):
                    if os.path.samestat(os.fstat(descriptor), file):
                        os.close(descriptor)
