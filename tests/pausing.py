"""A store that suspends before each call, so that a test can act while a commit waits for it."""

import types


class Pausing:
    """An `AsyncSessionStore` on a blocking store; it suspends before each call and yields the method's name."""

    def __init__(self, store: object) -> None:
        self.store = store

    async def create(self, record):
        await _pause("create")
        return self.store.create(record)

    async def save(self, record):
        await _pause("save")
        return self.store.save(record)

    async def load(self, id):
        await _pause("load")
        return self.store.load(id)

    async def delete(self, id):
        await _pause("delete")
        return self.store.delete(id)

    async def update(self, id, change, *, seen=None):
        await _pause("update")
        return self.store.update(id, change, seen=seen)

    async def mark_rotated(self, id, until):
        await _pause("mark_rotated")
        self.store.mark_rotated(id, until)

    async def was_rotated(self, id):
        await _pause("was_rotated")
        return self.store.was_rotated(id)


@types.coroutine
def _pause(method: str):
    yield method


def finish(steps):
    """Run a coroutine over a `Pausing` store to its end, and return its result."""
    try:
        while True:
            steps.send(None)
    except StopIteration as stop:
        return stop.value
