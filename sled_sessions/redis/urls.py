"""The client for a server's URL."""

import re
from urllib.parse import urlsplit

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import RedisClusterException, RedisError
from redis.maint_notifications import MaintNotificationsConfig

_SCHEMES = {"redis": "redis", "rediss": "rediss", "valkey": "redis", "valkeys": "rediss", "unix": "unix"}
"""The schemes of a URL, and the one by which the client knows each."""

_CLUSTER = "+cluster"
"""What the scheme of a Cluster's URL ends with."""

_NO_DECODING = re.compile(r"(?<=[?&])decode_responses=(0|f|false|n|no)(&|$)", re.IGNORECASE)
"""The option at its default, which the client takes for true, as it does any text."""


def client_from_url(url: str) -> Redis | RedisCluster:
    """Make a client, which connects on first use; `RedisStore.from_url` describes the URL and the errors."""
    try:
        parts = urlsplit(url)
        is_cut = parts.port is not None and "@" in parts.path + parts.query + parts.fragment
    except ValueError:  # the port is not a number
        is_cut = True
    if is_cut:  # the client would connect to the first part of the password, and its errors would show it
        raise ValueError(
            "no host and port can be read from the URL: a password in it must be quoted, "
            "as urllib.parse.quote(password, safe='') does (# is %23, / is %2F, ? is %3F)"
        )
    name, _, rest = url.partition("://")
    scheme = _SCHEMES.get(name.lower().removesuffix(_CLUSTER))
    is_cluster = name.lower().endswith(_CLUSTER)
    if scheme is None or (is_cluster and scheme == "unix"):
        raise ValueError(
            "the URL cannot be used: it must begin with redis:// or valkey://, with rediss:// or valkeys:// for TLS, "
            "with unix://, or with redis+cluster:// and the like"
        )
    url = f"{scheme}://{_NO_DECODING.sub('', rest)}"
    try:
        if is_cluster:
            return RedisCluster.from_url(url)
        # Redis() retries ten times by default, from_url() does not. The first pause is 10 ms.
        retry = Retry(ExponentialWithJitterBackoff(base=0.01, cap=1), 10)
        # With maintenance notifications, which only Redis Enterprise sends, the client uses closed connections.
        no_notices = MaintNotificationsConfig(enabled=False)
        # No socket timeout: the store limits the time of the whole call, and a second timer costs a tenth of it.
        client = Redis.from_url(url, retry=retry, socket_timeout=None, maint_notifications_config=no_notices)
        # Raises for unknown options.
        client.connection_pool.make_connection()  # type: ignore[no-untyped-call]
    except (RedisError, RedisClusterException, TypeError) as error:
        raise ValueError(f"the URL cannot be used: {error}") from None
    return client
