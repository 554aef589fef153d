"""Making the store calls that a commit asks for, on a blocking store and on an asyncio one."""

from sled_sessions.errors import SessionError
from sled_sessions.session.session import Call, Steps, T
from sled_sessions.stores.protocol import AsyncSessionStore, SessionStore


def drive(steps: Steps[T], store: SessionStore) -> T:
    """Make the calls on a blocking store.

    Raises:
        BackendError, EncodeError: As the store's methods.
    """
    try:
        method, arguments = next(steps)
        while True:
            try:
                result = getattr(store, method)(*arguments)
            except SessionError as error:
                method, arguments = steps.throw(error)
            else:
                method, arguments = steps.send(result)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


async def drive_async(steps: Steps[T], store: AsyncSessionStore, call: Call | None = None) -> T:
    """Make the calls on an asyncio store, beginning with `call` if the steps have got as far as that.

    Raises:
        BackendError, EncodeError: As the store's methods.
    """
    try:
        method, arguments = call or next(steps)
        while True:
            try:
                result = await getattr(store, method)(*arguments)
            except SessionError as error:
                method, arguments = steps.throw(error)
            else:
                method, arguments = steps.send(result)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
