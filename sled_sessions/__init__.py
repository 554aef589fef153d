"""Server-side web sessions in an embedded sled database, with an expiry index.

The layers, lowest first; each imports only from those above it in this list:

- `sled`: the engine, a general binding of the Rust crate sled; knows bytes and nothing of sessions.
- `records`: `Id`, `Record`, `Expiry`, and the bytes of a record; no I/O.
- `stores`: `SledStore`, `MemoryStore`, `CachingStore`, the expiry index, sweeps and the `Sweeper`.
- `redis`: `RedisStore`, for more than one process; imported by itself, since it needs the extra `redis`.
- `session`: `Session`, a dict that knows what changed; sans I/O.
- `web`: `SessionMiddleware` for ASGI, and its cookies.
- `operate`: whole databases: backup, export, compaction, migration, salvage.
- `cli`, `notebook`, `comparison`, `examples`: for people; they use what is above.

Beside the layers, for any of them: `errors`, and `display` for what people see.
"""

from sled_sessions import sled
from sled_sessions.errors import BackendError, DecodeError, EncodeError, RecordTooLarge, SessionError
from sled_sessions.records import Expiry, Id, Record
from sled_sessions.session import Session
from sled_sessions.stores.adapter import AsyncStore
from sled_sessions.stores.caching import AsyncCachingStore, CachingStore
from sled_sessions.stores.memory import MemoryStore
from sled_sessions.stores.observed import observe
from sled_sessions.stores.protocol import DELETE, AsyncSessionStore, SessionStore
from sled_sessions.stores.sled import SledStore
from sled_sessions.stores.sweep import SweepReport, SweepStrategy
from sled_sessions.stores.sweeper import Sweeper
from sled_sessions.web import SessionMiddleware

__all__ = [
    "DELETE",
    "AsyncCachingStore",
    "AsyncSessionStore",
    "AsyncStore",
    "BackendError",
    "CachingStore",
    "DecodeError",
    "EncodeError",
    "Expiry",
    "Id",
    "MemoryStore",
    "Record",
    "RecordTooLarge",
    "Session",
    "SessionError",
    "SessionMiddleware",
    "SessionStore",
    "SledStore",
    "SweepReport",
    "SweepStrategy",
    "Sweeper",
    "observe",
    "sled",
]


def load_ipython_extension(ipython: object) -> None:
    """Load the magics, for `%load_ext sled_sessions`."""
    from sled_sessions.notebook.extension import load

    load(ipython)
