"""Every kind of store: by name, a function of a folder and a clock that returns a context manager on an empty store."""

import textwrap
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from functools import partial

from bridge import blocking
from servers import BINARIES, shared_cluster, shared_server

from sled_sessions import AsyncCachingStore, CachingStore, MemoryStore, SledStore, SweepStrategy, sled
from sled_sessions.redis import RedisStore
from sled_sessions.stores import protocol

PATIENCE = timedelta(minutes=1)
"""How long to wait for a server: 200 threads on a busy machine take longer than the default."""


@contextmanager
def _memory(tmp_path, clock):
    yield MemoryStore(clock=clock)


@contextmanager
def _sled(tmp_path, clock, **options):
    with sled.open(tmp_path / "storage") as db:
        yield SledStore(db.open_tree("session"), clock=clock, **options)


@contextmanager
def _sled_at(tmp_path, clock):
    store = SledStore.at(tmp_path / "storage", clock=clock)
    yield store  # its first use opens it
    store.close()


@contextmanager
def _caching(tmp_path, clock):
    with _sled(tmp_path, clock) as store:
        yield CachingStore(MemoryStore(clock=clock), store)


@contextmanager
def _redis(tmp_path, clock, *, shared=shared_server, binary="valkey"):
    server = shared(BINARIES[binary])
    server.flush()
    with blocking(lambda: RedisStore.from_url(server.url, clock=clock, timeout=PATIENCE)) as store:
        yield store


@contextmanager
def _caching_over_redis(tmp_path, clock):
    @asynccontextmanager
    async def make():
        async with RedisStore.from_url(shared_server().url, clock=clock, timeout=PATIENCE) as shared:
            with _sled(tmp_path, clock) as local:
                yield AsyncCachingStore(local, shared)

    shared_server().flush()
    with blocking(make) as store:
        yield store


STORES = {
    "memory": _memory,
    "sled-index": _sled,
    "sled-coarse-index": partial(_sled, resolution=timedelta(minutes=1)),
    "sled-full-scan": partial(_sled, strategy=SweepStrategy.FULL_SCAN),
    "caching": _caching,
}


@contextmanager
def _documented(tmp_path, clock):
    """The example store from the documentation of the protocol."""
    lines = [line for line in protocol.__doc__.splitlines() if line.startswith("    ") or not line]
    names: dict[str, object] = {}
    exec(textwrap.dedent("\n".join(lines)), names)
    yield names["DictStore"](clock)


MORE_STORES = {"documented": _documented, "sled-at": _sled_at}
"""Only for the suites in `tests/stores`."""

SERVED_STORES = {
    **{f"redis-{binary}": partial(_redis, binary=binary) for binary in BINARIES},
    "redis-cluster": partial(_redis, shared=shared_cluster),
    "caching-redis": _caching_over_redis,
}
"""Asyncio stores as blocking ones; their servers delete expired sessions."""
