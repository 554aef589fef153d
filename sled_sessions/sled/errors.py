"""What the engine raises, all of it below ``SledError``; and ``TypeError`` or ``ValueError`` for a wrong argument."""


class SledError(Exception):
    """Anything that sled or this binding refuses or fails to do."""


class CollectionNotFound(SledError):
    """The tree no longer exists: ``Db.drop_tree`` removed it while this handle was still in use."""


class Unsupported(SledError):
    """The engine cannot do this: another format, another segment size, trees of two databases in one transaction."""


class ReportableBug(SledError):
    """sled broke one of its own promises, or panicked. The message says where."""


class Corruption(SledError):
    """A file of the database is damaged. What could be read until then was correct."""


class SledIOError(SledError, OSError):
    """The file system refused; ``errno`` and ``filename`` are set where they are known."""


class DatabaseLocked(SledError):
    """Another open database holds the folder. sled lets one process at a time, and once in it, open a folder."""


class ForkedProcess(SledError):
    """This process was forked from one that had opened sled, whose I/O threads do not survive a fork."""


class ClosedError(SledError):
    """The database (or the watcher) has been closed."""


class EventsLost(SledError):
    """A watcher was read too slowly and its oldest events were dropped; the message says how many."""
