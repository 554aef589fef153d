"""How commands reach the server: under which keys, each within its deadline, every failure as a `BackendError`."""

import asyncio
import random
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any, cast
from weakref import WeakValueDictionary

import attrs
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.connection import AbstractConnection, SSLConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from sled_sessions.errors import DecodeError
from sled_sessions.records import Id
from sled_sessions.redis.errors import backend_error, is_read_only, is_wrong_type, out_of_time
from sled_sessions.stores.protocol import key_of

_SWAP = """
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return false end
return redis.call('SET', KEYS[1], ARGV[2], 'PXAT', ARGV[3])
"""
"""`SET key new IFEQ old PXAT expiry` for servers before Valkey 8.1 and Redis 8.4. It uses one key, so it works on a
Cluster. Each EVAL sends the whole text, which spares a second round trip when the server has forgotten it."""

_DELETE = """
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return false end
return redis.call('DEL', KEYS[1])
"""
"""Deletes the value if it is still the old one. It writes nothing, so a server at its memory limit runs it."""

_PAGE = 1000
"""Keys in one step of a SCAN, during which the server does nothing else."""


class Keys:
    """The keys under one prefix: UTF-8, whatever the client's encoding. `pattern` matches them in a SCAN."""

    def __init__(self, prefix: str) -> None:
        if not isinstance(prefix, str):
            raise TypeError(f"prefix must be a str, not {type(prefix).__name__}")
        self._prefix = prefix.encode()
        self.pattern = re.sub(rb"([*?\[\]\\])", rb"\\\1", self._prefix) + b"*"

    def of(self, id: Id) -> bytes:
        """The session's key; raises TypeError if `id` is not an Id."""
        key_of(id)
        return self._prefix + str(id).encode()

    def of_mark(self, id: Id) -> bytes:
        """The key of an id's mark, which `id_of` does not take for a session's; TypeError if `id` is not an Id."""
        key_of(id)
        return self._prefix + b"rotated:" + str(id).encode()

    def id_of(self, key: bytes) -> Id | None:
        """The id in a key that `pattern` matches; None if the key is not a session's."""
        try:
            return Id.parse(key[len(self._prefix) :])
        except DecodeError:
            return None


class Calls:
    """Sends commands through a client. `RedisStore` describes the arguments and the errors."""

    def __init__(self, client: Redis | RedisCluster, timeout: timedelta, concurrency: int) -> None:
        if concurrency < 1:
            raise ValueError("concurrency must be at least 1")
        if not isinstance(timeout, timedelta):
            raise TypeError(f"timeout must be a timedelta, not {type(timeout).__name__}")
        self.client = client
        self._timeout = timeout
        # Checked once: the client's classes are Protocols, for which isinstance is slow.
        self._cluster = client if isinstance(client, RedisCluster) else None
        if isinstance(client, RedisCluster):
            concurrency = min(concurrency, client.connection_kwargs["max_connections"])
        else:
            concurrency = min(concurrency, client.connection_pool.max_connections)
        self._slots: defaultdict[str, asyncio.Semaphore] = defaultdict(partial(asyncio.Semaphore, concurrency))
        self._turns: WeakValueDictionary[bytes, Turn] = WeakValueDictionary()
        self._knows_ifeq = True  # until the server refuses it
        self._may_lack_tls = _speaks_tls(client)  # until the server answers

    def turn(self, key: bytes) -> "Turn":
        """The turn that all updates of one session share while any of them runs."""
        return self._turns.setdefault(key, Turn())

    def deadline(self) -> float:
        """When a call that starts now must be done, on the event loop's clock."""
        return asyncio.get_running_loop().time() + self._timeout.total_seconds()

    async def answer(
        self, call: Callable[[], Awaitable[Any]], deadline: float, keys: Sequence[bytes], lost: int = 0
    ) -> Any:
        """Make a call about these keys, which are on one node, and return the server's answer.

        Raises BackendError if the server refuses the command or does not answer by the deadline; `lost`, how often
        another writer came first, is for the message.
        """
        try:
            async with asyncio.timeout_at(deadline):
                node = ""
                if self._cluster is not None:
                    await self._cluster.initialize()  # or the first commands go to guessed nodes
                    if keys:
                        node = self._cluster.get_node_from_key(keys[0]).name  # type: ignore[arg-type, union-attr]
                async with self._slots[node]:  # by node: a master that hangs does not hold up the others
                    answer = await call()
                    self._may_lack_tls = False
                    return answer
        except TimeoutError as error:
            raise out_of_time(self._timeout, lost, error, may_lack_tls=self._may_lack_tls) from error
        except Exception as error:  # noqa: BLE001 - a client that lost its server raises more than its own errors
            if is_read_only(error) and isinstance(self.client, Redis):
                # The master has become a replica. Reconnect: its address may lead to the new master.
                with suppress(Exception):
                    async with asyncio.timeout_at(deadline):
                        await self.client.connection_pool.disconnect(inuse_connections=False)
            failure = backend_error(error, keys, may_lack_tls=self._may_lack_tls)
        try:
            raise failure  # outside the except block, so that the client's error does not become its context
        finally:
            del failure  # breaks the reference cycle of its traceback and this frame

    async def once(self, key: bytes, *command: Any) -> Any:
        """Send a command without the client's retries: it cannot know whether a command took effect before an error."""
        if (cluster := self._cluster) is not None:
            # The client does not retry if the caller names the node, but still follows MOVED and ASK.
            return await cluster.execute_command(*command, target_nodes=[cluster.get_node_from_key(key)])  # type: ignore[arg-type]
        pool = cast("Redis", self.client).connection_pool
        connection = await pool.get_connection()  # type: ignore[no-untyped-call]
        try:
            if pool.maint_notifications_enabled() and await _was_closed(connection):  # type: ignore[no-untyped-call]
                await connection.disconnect()
                await connection.connect()
            await connection.send_command(*command)
            return await connection.read_response(disable_decoding=True)
        finally:
            await pool.release(connection)

    async def add(self, key: bytes, value: bytes, expiry: int) -> bool:
        """Store a value until `expiry`, with the client's retries; false if the key is taken."""
        answer = await self.client.set(key, value, pxat=expiry, nx=True)
        return _checked("SET", answer, answer is None or _is_ok(answer)) is not None

    async def write(self, key: bytes, value: bytes, expiry: int) -> None:
        """Store a value until `expiry`, whether or not the key is taken."""
        answer = await self.once(key, "SET", key, value, "PXAT", expiry)
        _checked("SET", answer, _is_ok(answer))

    async def delete(self, key: bytes) -> bool:
        """Delete a key, with the client's retries; false if there was none."""
        answer = await self.client.delete(key)
        return bool(_checked("DEL", answer, isinstance(answer, int)))

    async def read(self, key: bytes) -> bytes | None:
        """The value under a key; b"", which is not a valid record, for a list, a hash or the like.

        The first attempt bypasses the client, which takes a sixth longer; the retries are the client's.
        """
        try:
            answer = await self._get(key)
        except ResponseError as error:
            if not is_wrong_type(error):
                raise
            return b""
        value: bytes | None = _checked("GET", answer, answer is None or isinstance(answer, bytes))
        return value

    async def _get(self, key: bytes) -> Any:
        if self._cluster is None:
            with suppress(RedisConnectionError, RedisTimeoutError):
                return await self.once(key, "GET", key)
        return await self.client.get(key)

    async def swap(self, key: bytes, old: bytes, new: bytes | None, expiry: int) -> bool:
        """Replace the value, or delete it for None, if it is still the old one; true if it was."""
        if new is None:
            answer = await self.once(key, "EVAL", _DELETE, 1, key, old)
            return _checked("EVAL", answer, answer in (1, None)) is not None
        if self._knows_ifeq:
            try:
                answer = await self.once(key, "SET", key, new, "IFEQ", old, "PXAT", expiry)
                return _checked("SET", answer, answer is None or _is_ok(answer)) is not None
            except ResponseError as error:
                if is_wrong_type(error):
                    return False
                if "syntax error" not in str(error).lower():
                    raise
            self._knows_ifeq = False
        answer = await self.once(key, "EVAL", _SWAP, 1, key, old, new, expiry)
        return _checked("EVAL", answer, answer is None or _is_ok(answer)) is not None

    async def pages(self, keys: Keys) -> AsyncIterator[dict[bytes, Id]]:
        """The keys of all sessions on all masters, with their ids, in pages: each once, though SCAN may repeat one."""
        targets: list[dict[str, Any]] = [{}]
        if self._cluster is not None:
            await self.answer(self._cluster.initialize, self.deadline(), ())
            targets = [{"target_nodes": node} for node in self._cluster.get_primaries()]
        for target in targets:
            cursor, known = 0, set[bytes]()
            while True:
                scan = partial(self.client.scan, cursor, match=keys.pattern, count=_PAGE, **target)
                cursor, found = await self.answer(partial(_page, scan), self.deadline(), ())
                if isinstance(cursor, dict):  # a Cluster's client returns one for each node
                    (cursor,) = cursor.values()
                page = {key: id for key in found if key not in known and (id := keys.id_of(key)) is not None}
                known.update(page)
                yield page
                if cursor == 0:
                    break


async def _page(scan: Callable[[], Awaitable[Any]]) -> Any:
    """One step of a SCAN: the cursor and the keys."""
    cursor, found = await scan()
    return _checked("SCAN", (cursor, found), isinstance(found, list) and all(isinstance(key, bytes) for key in found))


def _is_ok(answer: Any) -> bool:
    return answer is True or answer == b"OK"  # clients turn it into True


def _checked(command: str, answer: Any, is_valid: bool) -> Any:
    """Return a server's answer; InvalidResponse if no server gives it to this command, and so it is something else."""
    if not is_valid:
        raise InvalidResponse(f"the server answered {command} with {type(answer).__name__}")
    return answer


@attrs.define(eq=False, repr=False)
class Turn:
    """What this process's updates of one session share: the lock that one holds, and the value the last one wrote."""

    lock: asyncio.Lock = attrs.field(factory=asyncio.Lock)
    value: bytes | None = None
    _pause: float = 0.001

    async def give_way(self, deadline: float) -> None:
        """Pause after another process came first, until the deadline at most.

        The pause is random, and longer each time up to 64 ms, so that competing processes get out of step.
        """
        left = deadline - asyncio.get_running_loop().time()
        await asyncio.sleep(min(random.uniform(0, self._pause), left))  # noqa: S311 - not a secret
        self._pause = min(2 * self._pause, 0.064)


def _speaks_tls(client: Redis | RedisCluster) -> bool:
    if isinstance(client, RedisCluster):
        return "ssl_cert_reqs" in client.connection_kwargs
    return issubclass(client.connection_pool.connection_class, SSLConnection)


async def _was_closed(connection: AbstractConnection) -> bool:
    """Whether the server has closed the connection while it was idle in the pool."""
    try:
        return bool(await connection.can_read())
    except (RedisError, OSError):
        return True
