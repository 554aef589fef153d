"""Asyncio stores for blocking tests."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import contextmanager


class Blocking:
    """A blocking facade, usable from any thread, for an `AsyncSessionStore` on another thread's event loop."""

    def __init__(self, store: object, loop: asyncio.AbstractEventLoop) -> None:
        self.store = store
        self._loop = loop
        self.awaited = Awaited(store, loop)

    def create(self, record):
        return self._run(self.store.create(record))

    def save(self, record):
        return self._run(self.store.save(record))

    def load(self, id):
        return self._run(self.store.load(id))

    def delete(self, id):
        return self._run(self.store.delete(id))

    def update(self, id, change, *, seen=None):
        return self._run(self.store.update(id, change, seen=seen))

    def delete_expired(self, *arguments, **options):
        return self._run(self.store.delete_expired(*arguments, **options))

    def mark_rotated(self, id, until):
        self._run(self.store.mark_rotated(id, until))

    def was_rotated(self, id):
        return self._run(self.store.was_rotated(id))

    def count(self):
        return self._run(self.store.count())

    def records(self):
        return iter(self._run(_list(self.store.records())))

    def __repr__(self) -> str:
        return repr(self.store)

    def _run(self, call):
        return asyncio.run_coroutine_threadsafe(call, self._loop).result()


class Awaited:
    """The same store for code on other event loops, such as one loop for each request."""

    def __init__(self, store: object, loop: asyncio.AbstractEventLoop) -> None:
        self.store = store
        self._loop = loop

    async def create(self, record):
        return await self._run(self.store.create(record))

    async def save(self, record):
        return await self._run(self.store.save(record))

    async def load(self, id):
        return await self._run(self.store.load(id))

    async def delete(self, id):
        return await self._run(self.store.delete(id))

    async def update(self, id, change, *, seen=None):
        return await self._run(self.store.update(id, change, seen=seen))

    async def delete_expired(self, *arguments, **options):
        return await self._run(self.store.delete_expired(*arguments, **options))

    async def mark_rotated(self, id, until):
        await self._run(self.store.mark_rotated(id, until))

    async def was_rotated(self, id):
        return await self._run(self.store.was_rotated(id))

    def _run(self, call):
        return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call, self._loop))


async def _list(items: AsyncIterator[object]) -> list[object]:
    return [item async for item in items]


@contextmanager
def blocking(make):
    """Enter the asynchronous context manager that `make` returns, and yield its store as a `Blocking` one."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def enter():
        context = make()
        return context, await context.__aenter__()

    try:
        context, store = asyncio.run_coroutine_threadsafe(enter(), loop).result()
        try:
            yield Blocking(store, loop)
        finally:
            asyncio.run_coroutine_threadsafe(context.__aexit__(None, None, None), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
