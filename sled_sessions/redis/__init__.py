"""Sessions on a Valkey or Redis server, shared by processes and machines. Needs the extra `redis`.

A record is stored under the key `<prefix><id>`, as the same bytes as in a sled database, and the server deletes it when
it expires (`PXAT`), so there is no index and no sweep. With `prefix=""`, keys and values are those of the Rust crate
tower-sessions-redis-store: Rust and Python programs can share sessions.
"""

try:
    from sled_sessions.redis.store import RedisStore
except ImportError as error:
    raise ImportError(
        "RedisStore needs the package redis, version 8.1 or later: pip install 'sled_sessions[redis]'"
    ) from error

__all__ = ["RedisStore"]
