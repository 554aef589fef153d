"""The engine's exceptions, all derived from ``SledError``. Wrong arguments raise ``TypeError`` or ``ValueError``."""


class SledError(Exception):
    """Anything that sled or this binding refuses or fails to do."""


class CollectionNotFound(SledError):
    """The tree was removed by ``Db.drop_tree`` while this handle was still in use."""


class Unsupported(SledError):
    """The engine cannot do this: another format, another segment size, trees of two databases in one transaction."""


class ReportableBug(SledError):
    """sled broke one of its own invariants, or panicked. The message says where."""


class Corruption(SledError):
    """A file of the database is damaged. Everything read before the error was correct."""


class SledIOError(SledError, OSError):
    """The file system refused; ``errno`` and ``filename`` are set where they are known."""


class DatabaseLocked(SledError):
    """Another open database holds the folder. A folder can be open in one process at a time, and only once there."""


class ForkedProcess(SledError):
    """This process was forked from one that had opened sled, whose I/O threads do not survive a fork."""


class ClosedError(SledError):
    """The database or the watcher has been closed."""


class EventsLost(SledError):
    """A watcher was read too slowly and its oldest events were dropped; the message says how many."""
