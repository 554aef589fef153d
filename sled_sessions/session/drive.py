"""Making the store calls that a commit asks for, on a blocking store and on an asyncio one."""

from typing import Any

from sled_sessions.session.session import Steps, T
from sled_sessions.stores.protocol import AsyncSessionStore, SessionStore


def drive(steps: Steps[T], store: SessionStore) -> T:
    """Make the calls on a blocking store.

    Raises:
        BackendError, EncodeError: As the store's methods.
    """
    result: Any = None
    try:
        while True:
            method, arguments = steps.send(result)
            result = getattr(store, method)(*arguments)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


async def drive_async(steps: Steps[T], store: AsyncSessionStore) -> T:
    """Make the calls on an asyncio store.

    Raises:
        BackendError, EncodeError: As the store's methods.
    """
    result: Any = None
    try:
        while True:
            method, arguments = steps.send(result)
            result = await getattr(store, method)(*arguments)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
