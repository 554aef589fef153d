"""Server-side web sessions in an embedded sled database, with an expiry index.

The layers, lowest first. Each imports only from those listed before it:

- `sled`: the engine, a general binding of the Rust crate sled. It handles bytes and knows nothing about sessions.
- `records`: `Id`, `Record`, `Expiry`, and the bytes of a record; no I/O.
- `stores`: the protocol, `SledStore` with its expiry index, `MemoryStore`, caching, sweeps and the `Sweeper`. `redis`
  has `RedisStore`, for more than one process, and `events` the session events for `logging`.
- `session`: `Session`, a dict that knows what changed, and the commit that writes it to a store.
- `web`: `SessionMiddleware` for ASGI, its cookies, and what single frameworks need. `testing` is for an app's tests.
- `operate` (whole databases: backup, export, compaction, migration, salvage), `cli`, `notebook`, `comparison` and
  `examples`: what people call.

Two modules serve all layers: `errors`, and `display` for what people see.

Importing this package loads none of the layers: each name is imported from its layer when it is first used.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
    from sled_sessions.web.connection import session_of

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
    "session_of",
    "sled",
]

_NAMES_OF = {
    "errors": ("BackendError", "DecodeError", "EncodeError", "RecordTooLarge", "SessionError"),
    "records": ("Expiry", "Id", "Record"),
    "session": ("Session",),
    "stores.adapter": ("AsyncStore",),
    "stores.caching": ("AsyncCachingStore", "CachingStore"),
    "stores.memory": ("MemoryStore",),
    "stores.observed": ("observe",),
    "stores.protocol": ("DELETE", "AsyncSessionStore", "SessionStore"),
    "stores.sled": ("SledStore",),
    "stores.sweep": ("SweepReport", "SweepStrategy"),
    "stores.sweeper": ("Sweeper",),
    "web": ("SessionMiddleware",),
    "web.connection": ("session_of",),
}
_MODULE_OF = {name: module for module, names in _NAMES_OF.items() for name in names}

if not TYPE_CHECKING:  # else a type checker would take any name for one of this module's

    def __getattr__(name: str) -> object:
        """Import a public name, or a module of this package, on first use (PEP 562)."""
        module = f"{__name__}.{_MODULE_OF.get(name, name)}"
        if name.startswith("_"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module:  # a package that the module needs
                raise
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name) from None
        value = globals()[name] = getattr(found, name) if name in _MODULE_OF else found
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load_ipython_extension(ipython: object) -> None:
    """Load the magics, for `%load_ext sled_sessions`."""
    importlib.import_module(f"{__name__}.notebook.extension").load(ipython)  # a layer above, so not imported here
