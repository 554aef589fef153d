"""CachingStore of either kind, and the calls to try on it."""

import asyncio
from datetime import timedelta

from sled_sessions import (
    AsyncCachingStore,
    AsyncStore,
)

USES = {
    "create": lambda store, record: store.create(record),
    "save": lambda store, record: store.save(record),
    "update": lambda store, record: store.update(record.id, lambda now: now),
    "delete": lambda store, record: store.delete(record.id),
    "load": lambda store, record: store.load(record.id),
}


class Awaiting:
    """The asynchronous kind for blocking tests: each call runs to its end."""

    def __init__(self, cache, store, max_age=timedelta(hours=1)):
        self._store = AsyncCachingStore(cache, AsyncStore(store), max_age=max_age)

    def __getattr__(self, name):
        return lambda *arguments, **options: asyncio.run(getattr(self._store, name)(*arguments, **options))
