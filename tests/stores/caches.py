"""Helpers for the tests of caching stores."""

import asyncio
import threading
from datetime import timedelta

from sled_sessions import AsyncCachingStore, AsyncStore

USES = {
    "create": lambda store, record: store.create(record),
    "save": lambda store, record: store.save(record),
    "update": lambda store, record: store.update(record.id, lambda now: now),
    "delete": lambda store, record: store.delete(record.id),
    "load": lambda store, record: store.load(record.id),
}


class BlockingCalls:
    """Makes an AsyncCachingStore usable in blocking tests: each call runs to its end."""

    def __init__(self, cache, store, max_age=timedelta(hours=1)):
        self._store = AsyncCachingStore(cache, AsyncStore(store), max_age=max_age)

    def __getattr__(self, name):
        return lambda *arguments, **options: asyncio.run(getattr(self._store, name)(*arguments, **options))


class Gated:
    """A store whose calls wait until its gate opens.

    Attributes:
        calls: The names of the methods called so far, in order.
        gate: An event; set it to open the gate.
    """

    def __init__(self, store):
        self._store = store
        self._arrivals = threading.Semaphore(0)
        self.calls = []
        self.gate = threading.Event()

    def wait_for_call(self):
        """Wait until another call has reached the gate."""
        assert self._arrivals.acquire(timeout=20)

    def create(self, record):
        return self._pass("create", record)

    def save(self, record):
        return self._pass("save", record)

    def load(self, id):
        return self._pass("load", id)

    def delete(self, id):
        return self._pass("delete", id)

    def update(self, id, change, **options):
        return self._pass("update", id, change, **options)

    def delete_expired(self, strategy=None, **options):
        return self._pass("delete_expired", strategy, **options)

    def _pass(self, name, *arguments, **options):
        self.calls.append(name)
        self._arrivals.release()
        assert self.gate.wait(20)
        return getattr(self._store, name)(*arguments, **options)
