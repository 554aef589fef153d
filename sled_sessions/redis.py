"""Sessions on a Valkey or Redis server, shared by processes and machines. Needs the extra `redis`.

A record lies under the key `<prefix><id>`, as the bytes that it has in a sled database, and the server deletes it when
it expires (`PXAT`): no index, no sweep. With `prefix=""` keys and values are those of the Rust crate
tower-sessions-redis-store, so that a Rust and a Python program can share sessions.
"""

import asyncio
import logging
import random
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any, Self, Unpack, cast
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

import attrs

try:
    from redis.asyncio import Redis, RedisCluster
    from redis.asyncio.connection import AbstractConnection
    from redis.asyncio.retry import Retry
    from redis.backoff import ExponentialWithJitterBackoff
    from redis.exceptions import ConnectionError as RedisConnectionError
    from redis.exceptions import ReadOnlyError, RedisClusterException, RedisError, ResponseError
    from redis.exceptions import TimeoutError as RedisTimeoutError
    from redis.maint_notifications import MaintNotificationsConfig
except ImportError as error:
    raise ImportError(
        "RedisStore needs the package redis, version 8.1 or later: pip install 'sled_sessions[redis]'"
    ) from error

from sled_sessions.errors import BackendError, DecodeError
from sled_sessions.records import Id, Record, codec
from sled_sessions.records.id import TEXT_LENGTH
from sled_sessions.stores.clock import Clock, checked, utc_now
from sled_sessions.stores.encoded import MAX_RECORD_BYTES, record_if_readable
from sled_sessions.stores.protocol import DELETE, Change, check_change, key_of
from sled_sessions.stores.sweep import Sweep, SweepOptions, SweepReport, SweepStrategy

_log = logging.getLogger(__name__)

_SWAP = """
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return false end
return redis.call('SET', KEYS[1], ARGV[2], 'PXAT', ARGV[3])
"""
"""What `SET key new IFEQ old PXAT expiry` does, for servers that do not know it: Valkey does since 8.1, Redis since
8.4. One key, so a Cluster takes it as well. It is sent whole each time: the server finds it by its hash, and there is
no second trip when it has forgotten it."""

_DELETE = """
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return false end
return redis.call('DEL', KEYS[1])
"""
"""Deletes the value if it is still the old one; a server at its memory limit runs it, since it writes nothing."""

_FIRST_PAUSE = 0.001
_LONGEST_PAUSE = 0.064

_TELLING = 6
"""So many characters of an id in a row are no chance."""

_CLUSTER_SCHEMES = {"redis+cluster": "redis", "rediss+cluster": "rediss"}

_PAGE = 1000
"""Keys in one step of a SCAN: what the server does at a stretch."""


class RedisStore:
    """An `AsyncSessionStore` on Valkey, or on Redis 6.2 or later: one server, behind Sentinel, or a Cluster.

        store = RedisStore.from_url("redis://localhost:6379")
        store = RedisStore(Sentinel([("10.0.0.1", 26379)]).master_for("main"))

    `load`, `save`, `create` and `delete` take one round trip; `update` one when the change brings along the record that
    it is for, as a `Session`'s does, else two, and two more each time that another writer comes first.

    A server that is away, slow, read-only or moving slots means `BackendError` within `timeout`, and as soon as it is
    back the store works again. `load`, `create` and `delete` are repeated as the client's retry policy says. `save` and
    `update` are sent once, since a repetition might undo what came in between: after a `BackendError` the session is
    either as it was before or as it would be after.

    It belongs to one event loop, as its client does, and may be shared by all tasks there. The clocks of the server and
    of the programs must agree (NTP): a session is live as long as both say so.

    Args:
        client: A `redis.asyncio.Redis` or `RedisCluster`, without `decode_responses`; it stays open when the store is
            closed. Let no replica answer it: what a replica says is late.
        prefix: What the keys begin with. Stores with different prefixes share a server.
        timeout: How long a call may take, retries included.
        concurrency: How many commands may be under way at once, on each node of a Cluster, and no more than the
            client's `max_connections`: the client would refuse them. More wait their turn. Where stores share a client,
            all of theirs together have to stay below that.
        max_record_bytes: Refuse larger records; the default is SledStore's, so that sessions can move there.
        clock: Returns the present moment as an aware datetime.

    Raises:
        TypeError: `client` is no asyncio client of the package redis, `prefix` no str, or `timeout` no timedelta.
        ValueError: `client` decodes responses, or `concurrency` is less than 1.
        EncodeError: `clock` returns no aware datetime.
    """

    def __init__(
        self,
        client: "Redis | RedisCluster",
        *,
        prefix: str = "session:",
        timeout: timedelta = timedelta(seconds=5),
        concurrency: int = 64,
        max_record_bytes: int = MAX_RECORD_BYTES,
        clock: Clock = utc_now,
    ) -> None:
        if not isinstance(client, Redis | RedisCluster):
            kind = f"{type(client).__module__}.{type(client).__name__}"  # redis has blocking ones by the same names
            raise TypeError(f"client must be a redis.asyncio.Redis or RedisCluster, not {kind}")
        if client.get_encoder().decode_responses:
            raise ValueError("records are bytes: make the client without decode_responses=True")
        if not isinstance(prefix, str):
            raise TypeError(f"prefix must be a str, not {type(prefix).__name__}")
        if concurrency < 1:
            raise ValueError("concurrency must be at least 1")
        if not isinstance(timeout, timedelta):
            raise TypeError(f"timeout must be a timedelta, not {type(timeout).__name__}")
        self.client = client
        # Asked once: the client's classes are Protocols, of which Python finds out slowly.
        self._cluster = client if isinstance(client, RedisCluster) else None
        self.prefix = prefix
        self._prefix = prefix.encode()
        self.timeout = timeout
        self.max_record_bytes = max_record_bytes
        self.clock = checked(clock)
        if isinstance(client, RedisCluster):
            concurrency = min(concurrency, client.connection_kwargs["max_connections"])
        else:
            concurrency = min(concurrency, client.connection_pool.max_connections)
        self._slots: defaultdict[str, asyncio.Semaphore] = defaultdict(partial(asyncio.Semaphore, concurrency))
        self._turns: WeakValueDictionary[bytes, _Turn] = WeakValueDictionary()
        self._server_swaps = True  # until it says that it knows no IFEQ
        self._owns_client = False

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """Make a store and its client, which is closed with the store.

        Args:
            url: `redis://`, `rediss://` (TLS) or `unix://`, as `redis.asyncio.Redis.from_url` reads it, client options
                in the query included; `redis+cluster://` or `rediss+cluster://` with any node of a Cluster. Sentinel
                has no URL: give the constructor what `Sentinel.master_for` returns.
            options: Those of the constructor.

        Raises:
            ValueError: The URL is none of these, or has an option that the client does not know. What may be a part of
                the password is not shown.
        """
        _check_host(url)
        scheme, separator, rest = url.partition("://")
        client: Redis | RedisCluster
        try:
            if scheme in _CLUSTER_SCHEMES:
                client = RedisCluster.from_url(_CLUSTER_SCHEMES[scheme] + separator + rest)
            else:
                # What Redis() does by itself, from_url does not: repeat over ten attempts, 10 ms apart and then longer.
                # Time is kept here, for the call as a whole: a second watch on the socket costs a tenth of it.
                retry = Retry(ExponentialWithJitterBackoff(base=0.01, cap=1), 10)
                # With notices of maintenance, which servers other than Redis Enterprise do not send, the client does
                # not look whether a connection is still open.
                no_notices = MaintNotificationsConfig(enabled=False)
                client = Redis.from_url(url, retry=retry, socket_timeout=None, maint_notifications_config=no_notices)
                # This refuses options that it does not know.
                client.connection_pool.make_connection()  # type: ignore[no-untyped-call]
        except (RedisError, RedisClusterException, TypeError) as error:
            raise ValueError(f"the URL cannot be used: {error}") from None
        store = cls(client, **options)
        store._owns_client = True
        return store

    async def aclose(self) -> None:
        """Close the client's connections, if `from_url` made it."""
        if self._owns_client:
            with suppress(RedisError, OSError):  # of a server that no longer answers: the connections end all the same
                await self.client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    # -- the contract -------------------------------------------------------------------------------------------------

    async def create(self, record: Record) -> Record:
        """Store a new session: under another id if this one is taken."""
        deadline = self._deadline()
        while True:
            key, (value, expiry) = self._key(record.id), self._encode(record)
            # Sent twice, it may leave a record under an id that nobody has been told; that one expires by itself.
            attempt = partial(self.client.set, key, value, pxat=expiry, nx=True)
            if await self._answer(attempt, deadline, [key]):
                return record
            record = attrs.evolve(record, id=Id.new())

    async def save(self, record: Record) -> None:
        """Store a session, new or known."""
        key, (value, expiry) = self._key(record.id), self._encode(record)
        write = partial(self._once, key, "SET", key, value, "PXAT", expiry)
        await self._answer(write, self._deadline(), [key])

    async def load(self, id: Id) -> Record | None:
        """Return a live session's record, or None."""
        return await self._load(id, self._key(id), self._deadline())

    async def delete(self, id: Id) -> bool:
        """Remove a session; false when there was none, or when only the second of two attempts was answered."""
        key = self._key(id)
        return bool(await self._answer(partial(self.client.delete, key), self._deadline(), [key]))

    async def update(self, id: Id, change: Change, *, seen: Record | None = None) -> Record | None:
        """Read, change and write a live session as one step, across processes; None when it is gone or expired.

        Nothing is locked on the server: the new record goes in if the old one is still there, byte for byte, and
        otherwise `change` gets the other writer's. This store's own updates of a session wait for each other.

        Raises:
            BackendError: Also when other writers came first until `timeout` was over.
        """
        key, deadline = self._key(id), self._deadline()
        turn = self._turn(key)
        async with turn.lock:  # no longer than until the deadlines of those that came before
            # What the last update here has written, or what the caller has seen, may be it still.
            last = turn.value
            now = self.clock()
            if last is not None:
                record = Record.decode_live(id, last, now)
            else:
                record = seen if seen is not None and seen.is_live_state(now) else None
            lost = 0
            while True:
                is_guess = record is not None
                if record is None:
                    record = await self._load(id, key, deadline, lost)
                if record is None:
                    return None
                old = record.version
                value, expiry = None, 0
                try:
                    changed = check_change(id, change(record))
                    if changed is not DELETE:
                        value, expiry = self._encode(changed)
                except Exception:
                    if not is_guess:
                        raise
                    record = None  # retry on the stored record before raising
                    continue
                swap = partial(self._swap, key, old, value, expiry)
                if await self._answer(swap, deadline, [key], lost):
                    turn.value = value
                    return (
                        None
                        if changed is DELETE or value is None
                        else Record(id, changed.data, changed.expiry_date, version=value)
                    )
                if not is_guess:
                    lost += 1
                    if not await turn.give_way(deadline):
                        raise self._too_late(lost)
                record = None

    async def delete_expired(
        self, strategy: SweepStrategy | None = None, **options: Unpack[SweepOptions]
    ) -> SweepReport:
        """Do nothing: the server deletes what expires, and tells nobody, so that `on_expired` is never called.

        The report says so: no strategy, nothing examined, nothing deleted. Options that make no sense are refused all
        the same, so that they do not wait for another store.
        """
        Sweep(SweepStrategy(strategy or SweepStrategy.FULL_SCAN), self.clock, **options)  # which checks them
        return SweepReport(strategy=None)

    # -- looking at what is there -------------------------------------------------------------------------------------

    async def count(self) -> int:
        """How many sessions are stored.

        O(n) in the keys of the whole server, in steps that let others in between; remembers the keys of the sessions.
        """
        return sum([len(page) async for page in self._pages()])

    async def records(self) -> AsyncIterator[Record]:
        """Every record stored, in no order; unreadable ones are skipped. O(n), as `count`."""
        unreadable = 0
        async for id, value in self.pairs():
            if (record := record_if_readable(id.key, value)) is None:
                unreadable += 1
            else:
                yield record
        if unreadable:
            _log.warning("skipped %d records that cannot be read", unreadable)

    async def pairs(self) -> AsyncIterator[tuple[Id, bytes]]:
        """Every session's id and its record's bytes, in no order. O(n), as `count`."""
        async for keys in self._pages():
            pipeline = self.client.pipeline(transaction=False)
            for key in keys:
                pipeline.get(key)
            values = await self._answer(partial(pipeline.execute, raise_on_error=False), self._deadline(), keys)
            for key, value in zip(keys, values, strict=True):
                if _is_of_other_type(value):
                    value = b""
                if isinstance(value, Exception):
                    raise _backend_error(value, keys)
                if value is not None:  # deleted since
                    yield self._id_of(key), value

    def __repr__(self) -> str:
        return f"RedisStore({type(self.client).__name__}, prefix={self.prefix!r})"  # the client's shows the password

    # -- how ----------------------------------------------------------------------------------------------------------

    def _key(self, id: Id) -> bytes:
        key_of(id)  # refuses what is no Id
        return self._prefix + str(id).encode()

    def _encode(self, record: Record) -> tuple[bytes, int]:
        """The record's bytes, and its expiry in milliseconds for the server.

        It is rounded up, so that the server never deletes a live one; and a server takes no 0.
        """
        return record.encode(self.max_record_bytes), max(1, -(-codec.to_microseconds(record.expiry_date) // 1000))

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self.timeout.total_seconds()

    def _turn(self, key: bytes) -> "_Turn":
        """What this store's updates of a session share."""
        return self._turns.setdefault(key, _Turn())

    def _too_late(self, lost: int, refusal: RedisConnectionError | None = None) -> BackendError:
        """The error when a call's time is up: `lost` times another writer came first, or no connection was made."""
        seconds = f"{self.timeout.total_seconds():g} s"
        msg = f"the server has not answered within {seconds}"
        if lost:
            msg = f"not done within {seconds}: other writers of this session came first ({lost:,} times)"
        elif refusal is not None:
            msg += f": {refusal}"
        return BackendError(msg)

    async def _load(self, id: Id, key: bytes, deadline: float, lost: int = 0) -> Record | None:
        value: bytes | None = await self._answer(partial(self._read, key), deadline, [key], lost)
        return None if value is None else Record.decode_live(id, value, self.clock())

    async def _answer(
        self, call: Callable[[], Awaitable[Any]], deadline: float, keys: Sequence[bytes], lost: int = 0
    ) -> Any:
        """What the server answers by the deadline to a call of the client.

        Raises:
            BackendError: Nothing, or that it will not.
        """
        try:
            async with asyncio.timeout_at(deadline):
                node = ""
                if self._cluster is not None:
                    await self._cluster.initialize()  # the first commands would guess their nodes, and be moved
                    if keys:
                        node = self._cluster.get_node_from_key(keys[0]).name  # type: ignore[arg-type, union-attr]
                async with self._slots[node]:  # so that a master that hangs does not keep the others waiting
                    return await call()
        except TimeoutError as error:
            raise self._too_late(lost, _refusal(error)) from error
        except Exception as error:  # noqa: BLE001 - a client that lost its server raises more than its own errors
            # Redis before 7 has the code in the middle of what it says of a script.
            if (isinstance(error, ReadOnlyError) or "READONLY" in str(error)) and isinstance(self.client, Redis):
                # The master has become a replica. Connect anew: its name may lead to the new master by now.
                with suppress(Exception):
                    async with asyncio.timeout_at(deadline):
                        await self.client.connection_pool.disconnect(inuse_connections=False)
            failure = _backend_error(error, keys)
        try:
            raise failure  # out here, where the client's error does not become its context
        finally:
            del failure  # or its traceback and this frame keep each other

    async def _read(self, key: bytes) -> Any:
        """GET past the client, whose way takes a sixth longer, and through it, to be repeated, when that fails.

        Of a list, a hash or the like it is no bytes, which are no record either.
        """
        try:
            if self._cluster is None:
                try:
                    return await self._once(key, "GET", key)
                except (RedisConnectionError, RedisTimeoutError):
                    pass
            return await self.client.get(key)
        except ResponseError as error:
            if not _is_of_other_type(error):
                raise
            return b""

    async def _swap(self, key: bytes, old: bytes, new: bytes | None, expiry: int) -> Any:
        """Replace the value, or delete it for None, if it is still the old one; the answer is true if it was."""
        if new is None:
            return await self._once(key, "EVAL", _DELETE, 1, key, old)
        if self._server_swaps:
            try:
                return await self._once(key, "SET", key, new, "IFEQ", old, "PXAT", expiry)
            except ResponseError as error:
                if _is_of_other_type(error):
                    return None
                if "syntax error" not in str(error).lower():
                    raise
            self._server_swaps = False
        return await self._once(key, "EVAL", _SWAP, 1, key, old, new, expiry)

    async def _once(self, key: bytes, *command: Any) -> Any:
        """Send a command past the client's retry policy, which cannot know whether a lost answer was a success."""
        if (cluster := self._cluster) is not None:
            # To a node that the caller names a command is sent once; MOVED and ASK are still followed.
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

    async def _pages(self) -> AsyncIterator[list[bytes]]:
        """The keys of all sessions on all masters, each once: SCAN may show one twice."""
        pattern = re.sub(rb"([*?\[\]\\])", rb"\\\1", self._prefix) + b"*"
        for target in await self._masters():
            cursor, known = 0, set[bytes]()
            while True:
                scan = partial(self.client.scan, cursor, match=pattern, count=_PAGE, **target)
                cursor, found = await self._answer(scan, self._deadline(), ())
                if isinstance(cursor, dict):  # of the nodes of a Cluster that were asked
                    (cursor,) = cursor.values()
                keys = [key for key in found if key not in known and self._is_session(key)]
                known.update(keys)
                yield keys
                if cursor == 0:
                    break

    async def _masters(self) -> list[dict[str, Any]]:
        """How to tell `scan` where to look."""
        if self._cluster is None:
            return [{}]
        await self._answer(self._cluster.initialize, self._deadline(), ())
        return [{"target_nodes": node} for node in self._cluster.get_primaries()]

    def _id_of(self, key: bytes) -> Id:
        return Id.parse(key[len(self._prefix) :])

    def _is_session(self, key: bytes) -> bool:
        try:
            self._id_of(key)
        except DecodeError:
            return False
        return True


@attrs.define(eq=False)
class _Turn:
    """One session's updates in this process, one after the other.

    Attributes:
        lock: Held by the one that is under way.
        value: What the last one wrote, for the next to begin with.
        pause: How long to wait, at most, when another process came first.
    """

    lock: asyncio.Lock = attrs.field(factory=asyncio.Lock)
    value: bytes | None = None
    pause: float = _FIRST_PAUSE

    async def give_way(self, deadline: float) -> bool:
        """Wait a little, so that processes that keep meeting each other part; false when that would be too long."""
        wait = random.uniform(0, self.pause)  # noqa: S311 - no secret is made of it
        if asyncio.get_running_loop().time() + wait > deadline:
            return False
        await asyncio.sleep(wait)
        self.pause = min(2 * self.pause, _LONGEST_PAUSE)
        return True


async def _was_closed(connection: AbstractConnection) -> bool:
    """Whether the server has closed the connection while it lay in the pool."""
    try:
        return bool(await connection.can_read())
    except (RedisError, OSError):
        return True


def _check_host(url: str) -> None:
    """Find out where a password ends the host too early: the client would go there, and its error show the beginning.

    Raises:
        ValueError: There is no port where one belongs, or an @ behind the host.
    """
    try:
        parts = urlsplit(url)
        is_cut = parts.port is not None and "@" in parts.path + parts.query + parts.fragment
    except ValueError:
        is_cut = True
    if is_cut:
        raise ValueError(
            "no host and port can be read from the URL: a password in it is to be quoted, "
            "as urllib.parse.quote(password, safe='') does (# is %23, / is %2F, ? is %3F)"
        )


def _is_of_other_type(answer: object) -> bool:
    """Whether the server says that another program has put a list, a hash or the like under the key."""
    return isinstance(answer, ResponseError) and str(answer).startswith("WRONGTYPE")


def _refusal(error: BaseException) -> RedisConnectionError | None:
    """Why the client was still trying to connect when its time was up, if it was."""
    while (before := error.__cause__ or error.__context__) is not None:
        if isinstance(before, RedisConnectionError):
            return before
        error = before
    return None


def _backend_error(error: Exception, keys: Iterable[bytes]) -> BackendError:
    """The error for a call about these keys.

    Some servers repeat the command in their answer, or the beginning of it: an error that holds an id, or the beginning
    of one, is neither quoted nor chained.
    """
    kind, text = type(error).__name__, str(error)
    if any(key[-TEXT_LENGTH:].decode()[:_TELLING] in text for key in keys):
        return BackendError(f"the server refused the command: {kind}")
    failure = BackendError(f"{kind}: {text}")
    failure.__cause__ = error
    return failure
