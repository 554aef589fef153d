"""The embedded database sled 0.34 for Python: ordered maps from bytes to bytes, stored in a folder.

    >>> from sled_sessions import sled
    >>> with sled.open("storage") as db:
    ...     db.insert(b"key", b"value")
    ...     db.get(b"key")
    b'value'

A general binding of the Rust crate; it knows nothing about sessions. It leaves out what has no effect in 0.34.7
(sled's ``mode``, ``snapshot_after_ops``), compression, and what Python already offers: merge operators
(``Tree.update_and_fetch``) and ``flush_async`` (``asyncio.to_thread(db.flush)``).
"""

import atexit
import os

from sled_sessions.sled import _check, _fork, _looks, _native  # noqa: F401 - _check must be first
from sled_sessions.sled._native import (
    Batch,
    Db,
    Event,
    Iter,
    Subscriber,
    TransactionTree,
    Tree,
    open,  # noqa: A004 - sled's name
    open_databases,
    transaction,
)
from sled_sessions.sled.errors import (
    ClosedError,
    CollectionNotFound,
    Corruption,
    DatabaseLocked,
    EventsLost,
    ForkedProcess,
    ReportableBug,
    SledError,
    SledIOError,
    Unsupported,
)

__all__ = [
    "Batch",
    "ClosedError",
    "CollectionNotFound",
    "Corruption",
    "DatabaseLocked",
    "Db",
    "Event",
    "EventsLost",
    "ForkedProcess",
    "Iter",
    "ReportableBug",
    "SledError",
    "SledIOError",
    "Subscriber",
    "TransactionTree",
    "Tree",
    "Unsupported",
    "open",
    "open_databases",
    "transaction",
]

Tree._repr_html_ = _looks.html_of  # Db inherits it

atexit.register(_native.close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_fork.after_fork_in_child)
