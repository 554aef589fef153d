"""`RedisStore`: the store's contract on a Valkey or Redis server."""

import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Self, Unpack

import attrs
from redis.asyncio import Redis, RedisCluster
from redis.exceptions import RedisError

from sled_sessions.errors import BackendError
from sled_sessions.records import Id, Record, codec
from sled_sessions.records.record import MAX_RECORD_BYTES
from sled_sessions.redis.calls import Calls, Keys
from sled_sessions.redis.errors import backend_error, is_wrong_type
from sled_sessions.redis.loops import Loops
from sled_sessions.redis.urls import client_from_url
from sled_sessions.stores.clock import Clock, checked, utc_now
from sled_sessions.stores.protocol import DELETE, Change, check_change
from sled_sessions.stores.sweep import Sweep, SweepOptions, SweepReport, SweepStrategy
from sled_sessions.tracebacks import guarded

_log = logging.getLogger(__name__)


class RedisStore:
    """An `AsyncSessionStore` on Valkey, or on Redis 6.2 or later: a single server, Sentinel, or a Cluster.

        store = RedisStore.from_url("redis://localhost:6379")
        store = RedisStore(Sentinel([("10.0.0.1", 26379)]).master_for("main"))

    `load`, `save`, `create` and `delete` take one round trip. `update` takes one if the caller passes the record it has
    loaded, as a `Session` does, and two otherwise; each time another writer comes first, it takes two more.

    While a server is down, slow, read-only or moving slots, calls raise `BackendError` within `timeout`; once it is
    back, the store works again. The client's retry policy applies to `load`, `create` and `delete`. `save` and `update`
    are sent once, because a retry might undo another write in between: after a `BackendError` the session is either
    unchanged or changed as intended.

    A store may be made before any event loop runs, and used on several, one after the other or at once: `from_url`
    makes a client for each. The end of a loop (of `asyncio.run`, a server, a TestClient) closes its connections.
    Keep the clocks of the server and of the programs in step (NTP): a session is live only while both say so.

    Args:
        client: A `redis.asyncio.Redis` or `RedisCluster` without `decode_responses`. Closing the store leaves it open.
            It works on one event loop at a time. Do not let replicas answer reads: they lag behind.
        prefix: What the keys begin with. Stores with different prefixes can share a server.
        timeout: The longest a call may take, retries included.
        concurrency: How many commands may be in flight at once, on each node of a Cluster; further calls wait. Never
            more than the client's `max_connections`, beyond which the client raises; stores that share a client must
            stay below it together.
        max_record_bytes: Refuse larger records. The default is SledStore's, so that sessions can move there.
        clock: Returns the current time as an aware datetime.

    Raises:
        TypeError: `client` is not one of redis-py's asyncio clients, `prefix` not a str, or `timeout` not a timedelta.
        ValueError: `client` decodes responses, or `concurrency` is less than 1.
        EncodeError: `clock` does not return an aware datetime.
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
            kind = f"{type(client).__module__}.{type(client).__name__}"  # blocking clients have the same class names
            raise TypeError(f"client must be a redis.asyncio.Redis or RedisCluster, not {kind}")
        if client.get_encoder().decode_responses:
            raise ValueError("records are bytes: create the client without decode_responses=True")
        self.prefix = prefix
        self.timeout = timeout
        self.max_record_bytes = max_record_bytes
        self.clock = checked(clock)
        self._keys = Keys(prefix)
        self._loops = Loops(client, partial(Calls, timeout=timeout, concurrency=concurrency))
        self._kind = type(client).__name__

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """Make a store and its client, one for each event loop, which is closed with the store.

        Args:
            url: `redis://`, `rediss://` (TLS) or `unix://`, as `redis.asyncio.Redis.from_url` reads it, client options
                in the query included; `redis+cluster://` or `rediss+cluster://` with any node of a Cluster. `valkey`
                may stand for `redis` in each. Sentinel has no URL: give the constructor what `Sentinel.master_for`
                returns.
            options: The constructor's.

        Raises:
            ValueError: The URL has an unknown scheme or option, or an unquoted password, of which the message shows
                nothing.
        """
        store = cls(client_from_url(url), **options)
        store._loops.new_client = partial(client_from_url, url)
        return store

    @property
    def client(self) -> "Redis | RedisCluster":
        """The client of the running event loop."""
        return self._loops.client

    @property
    def _calls(self) -> Calls:
        return self._loops.calls

    async def aclose(self) -> None:
        """Close the client's connections if `from_url` made the client."""
        if self._loops.new_client is not None:
            with suppress(RedisError, OSError):  # a server that no longer answers; the connections close all the same
                await self.client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    @guarded
    async def create(self, record: Record) -> Record:
        """Store a new session; if its id is taken, under a new id."""
        deadline = self._calls.deadline()
        while True:
            key, (value, expiry) = self._keys.of(record.id), self._encode(record)
            # A retry may leave a record under an id that is never returned; it expires by itself.
            attempt = partial(self._calls.add, key, value, expiry)
            if await self._calls.answer(attempt, deadline, [key]):
                return record
            record = attrs.evolve(record, id=Id.new())

    @guarded
    async def save(self, record: Record) -> None:
        """Store a session, new or known."""
        key, (value, expiry) = self._keys.of(record.id), self._encode(record)
        write = partial(self._calls.write, key, value, expiry)
        await self._calls.answer(write, self._calls.deadline(), [key])

    @guarded
    async def load(self, id: Id) -> Record | None:
        """Return a live session's record, or None."""
        return await self._load(id, self._keys.of(id), self._calls.deadline())

    @guarded
    async def delete(self, id: Id) -> bool:
        """Remove a session; False if there was none, or if a retry found it already removed."""
        key = self._keys.of(id)
        return bool(await self._calls.answer(partial(self._calls.delete, key), self._calls.deadline(), [key]))

    @guarded
    async def update(self, id: Id, change: Change, *, seen: Record | None = None) -> Record | None:
        """Read, change and write a live session as one step, across processes; see `SessionStore.update`.

        The server holds no lock: it writes the new record, or deletes the old one, only if the old one is still
        stored, byte for byte. Otherwise `change` is called again with the other writer's record. Updates of one session
        by this store take turns.

        Raises:
            BackendError: As for any call, or because other writers came first until `timeout` was over.
        """
        key, deadline = self._keys.of(id), self._calls.deadline()
        turn = self._calls.turn(key)
        async with turn.lock:  # each holder gives it up by its own deadline
            # Guess that the last update's record, or the one the caller has seen, is still stored.
            last, now, lost = turn.value, self.clock(), 0
            if last is not None:
                record = Record.decode_live(id, last, now)
            else:
                record = seen if seen is not None and seen.is_live_state(now) else None
            while True:
                is_guess = record is not None
                if record is None:
                    record = await self._load(id, key, deadline, lost)
                if record is None:
                    return None
                try:
                    changed = check_change(id, change(record))
                    value, expiry = (None, 0) if changed is DELETE else self._encode(changed)
                except Exception:
                    if not is_guess:
                        raise
                    record = None  # retry on the stored record before raising
                    continue
                swap = partial(self._calls.swap, key, record.version, value, expiry)
                if await self._calls.answer(swap, deadline, [key], lost):
                    turn.value = value
                    if changed is DELETE:
                        return None
                    return Record(id, changed.data, changed.expiry_date, version=value)
                if not is_guess:
                    lost += 1
                    await turn.give_way(deadline)
                record = None

    async def delete_expired(
        self, strategy: SweepStrategy | None = None, **options: Unpack[SweepOptions]
    ) -> SweepReport:
        """Do nothing: the server deletes expired sessions, without notice, so `on_expired` is never called.

        The report has no strategy and counts nothing. Invalid options raise, as they would with any other store.
        """
        Sweep(SweepStrategy(strategy or SweepStrategy.FULL_SCAN), self.clock, **options)  # checks them
        return SweepReport(strategy=None)

    @guarded
    async def mark_rotated(self, id: Id, until: datetime) -> None:
        """Mark an id as changed until this moment; see `RotationMarks`. One round trip; the server removes the mark."""
        key, moment = self._keys.of_mark(id), codec.to_microseconds(codec.require_aware(until, "until"))
        write = partial(self._calls.write, key, b"%d" % moment, _milliseconds(moment))
        await self._calls.answer(write, self._calls.deadline(), [key])

    @guarded
    async def was_rotated(self, id: Id) -> bool:
        """Whether an id has a mark that has not ended. One round trip."""
        key = self._keys.of_mark(id)
        value: bytes | None = await self._calls.answer(partial(self._calls.read, key), self._calls.deadline(), [key])
        return value is not None and value.isdigit() and int(value) > codec.to_microseconds(self.clock())

    @guarded
    async def count(self) -> int:
        """The number of stored sessions.

        O(n) in all keys of the server, which serves other commands between the steps; keeps the sessions' keys in
        memory meanwhile.
        """
        return sum([len(page) async for page in self._calls.pages(self._keys)])

    @guarded
    async def records(self) -> AsyncIterator[Record]:
        """All stored records, in no order; unreadable ones are skipped. O(n), as `count`."""
        unreadable = 0
        async for id, value in self.pairs():
            if (record := Record.decode_if_readable(id.key, value)) is None:
                unreadable += 1
            else:
                yield record
        if unreadable:
            _log.warning("skipped %d records that could not be decoded", unreadable)

    @guarded
    async def pairs(self) -> AsyncIterator[tuple[Id, bytes]]:
        """Each session's id and its record's bytes, in no order. O(n), as `count`."""
        async for page in self._calls.pages(self._keys):
            keys = list(page)
            pipeline = self.client.pipeline(transaction=False)
            for key in keys:
                pipeline.get(key)
            read = partial(pipeline.execute, raise_on_error=False)
            values = await self._calls.answer(read, self._calls.deadline(), keys)
            for key, value in zip(keys, values, strict=True):
                if is_wrong_type(value):
                    yield page[key], b""
                elif isinstance(value, Exception):
                    raise backend_error(value, keys)
                elif isinstance(value, bytes):
                    yield page[key], value
                elif value is not None:  # None: deleted since the scan
                    raise BackendError(f"the server answered GET with {type(value).__name__}")

    def __repr__(self) -> str:
        # The client's own repr shows the password.
        return f"RedisStore({self._kind}, prefix={self.prefix!r})"

    def _encode(self, record: Record) -> tuple[bytes, int]:
        """The record's bytes, and its expiry in milliseconds since the Unix epoch."""
        return record.encode(self.max_record_bytes), _milliseconds(codec.to_microseconds(record.expiry_date))

    async def _load(self, id: Id, key: bytes, deadline: float, lost: int = 0) -> Record | None:
        value: bytes | None = await self._calls.answer(partial(self._calls.read, key), deadline, [key], lost)
        return None if value is None else Record.decode_live(id, value, self.clock())


def _milliseconds(microseconds: int) -> int:
    """A moment for the server: rounded up, so that it deletes no live session, and not 0, which it refuses."""
    return max(1, -(-microseconds // 1000))
