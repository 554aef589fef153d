"""One client for each event loop, since a connection works only on the loop on which it was made."""

import asyncio
from asyncio import AbstractEventLoop
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import TypeAlias

from redis.asyncio import Redis, RedisCluster

from sled_sessions.redis.calls import Calls

Client: TypeAlias = "Redis | RedisCluster"

_CLOSE_WITHIN = 1.0
"""Seconds that closing the connections may take of an event loop's end."""


class Loops:
    """The `Calls` of a store on each event loop that uses it.

    Args:
        client: The client for the first event loop.
        calls_of: Makes a client's `Calls`.

    Attributes:
        new_client: Makes the client for each further loop; None if there is only the one that the caller made, whose
            connections are closed when a loop ends, so that the next one begins with new ones.
    """

    def __init__(self, client: Client, calls_of: Callable[[Client], Calls]) -> None:
        self._client = client
        self._calls_of = calls_of
        self._unused = [calls_of(client)]
        self._by_loop: dict[AbstractEventLoop, tuple[Calls, object]] = {}
        self.new_client: Callable[[], Client] | None = None

    @property
    def calls(self) -> Calls:
        """Those of the running event loop."""
        loop = asyncio.get_running_loop()
        found = self._by_loop.get(loop)
        return self._begin(loop) if found is None else found[0]

    @property
    def client(self) -> Client:
        """That of the running event loop; outside of any, the first one."""
        try:
            return self.calls.client
        except RuntimeError:
            return self._client

    def _begin(self, loop: AbstractEventLoop) -> Calls:
        for other in list(self._by_loop):
            if other.is_closed():
                self._by_loop.pop(other, None)
        try:
            calls = self._unused.pop()
        except IndexError:
            calls = self._calls_of(self._client if self.new_client is None else self.new_client())
        closing = _closing_with_the_loop(calls.client)
        with suppress(StopIteration):
            closing.__anext__().send(None)  # up to its `yield`, which needs no await; the loop then knows of it
        self._by_loop[loop] = calls, closing
        return calls


async def _closing_with_the_loop(client: Client) -> AsyncGenerator[None, None]:
    """Close the client's connections when the loop ends: `asyncio.run`, like servers, then closes all generators."""
    try:
        yield
    finally:
        with suppress(Exception):
            async with asyncio.timeout(_CLOSE_WITHIN):
                if isinstance(client, RedisCluster):
                    await client.aclose()
                else:
                    await client.connection_pool.disconnect()
