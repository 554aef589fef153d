"""Servers for the tests that disrupt them, and stores on the shared ones."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import redis
from servers import BINARIES, VALKEY, Cluster, Server, free_port, shared_cluster, shared_server
from waiting import wait_until

from sled_sessions.redis import RedisStore


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(params=[*BINARIES, "cluster"])
def served(request) -> Server | Cluster:
    """Each kind of server in turn, empty."""
    server = shared_cluster() if request.param == "cluster" else shared_server(BINARIES[request.param])
    server.flush()
    return server


@pytest.fixture
def server() -> Server:
    server = shared_server()
    server.flush()
    return server


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A server that the test may kill."""
    server = Server()
    yield server
    server.resume()
    server.close()


@pytest.fixture
def own_cluster() -> Iterator[Cluster]:
    """A Cluster that the test may kill."""
    cluster = Cluster()
    yield cluster
    cluster.close()


@pytest.fixture
def sentinel(own_server, tmp_path) -> Iterator[int]:
    """The port of a Sentinel that watches `own_server`, as "main", and a replica of it."""
    replica, port = Server("--replicaof", "127.0.0.1", str(own_server.port)), free_port()
    configuration = tmp_path / "sentinel.conf"
    configuration.write_text(
        f"port {port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {own_server.port} 1\n"
        "sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n"
    )
    with (tmp_path / "sentinel.log").open("wb") as log:
        process = subprocess.Popen([VALKEY, str(configuration), "--sentinel"], stdout=log, stderr=log)
    try:
        with own_server.client() as admin:
            wait_until(lambda: admin.info("replication")["connected_slaves"] == 1)
        with redis.Redis(port=port) as watcher:
            wait_until(lambda: watcher.sentinel_slaves("main"), ignoring=redis.RedisError)
        yield port
    finally:
        process.kill()
        process.wait()
        replica.close()


@pytest.fixture
async def store(served):
    async with RedisStore.from_url(served.url) as store:
        yield store


@pytest.fixture
async def single(server):
    """A store on the shared Valkey server."""
    async with RedisStore.from_url(server.url) as store:
        yield store


@pytest.fixture
def commands(server) -> Callable:
    """Records the names of the commands that the server receives while a block runs."""

    @contextmanager
    def record() -> Iterator[list[str]]:
        seen: list[str] = []
        with redis.Redis(port=server.port) as client, client.monitor() as monitor:
            yield seen
            client.echo("end of block")
            for entry in monitor.listen():
                if "end of block" in entry["command"]:
                    break
                name = entry["command"].split()[0].upper()
                # A script's own commands take no round trip, and each connection sends HELLO and CLIENT only once.
                if entry["client_type"] != "lua" and name not in ("HELLO", "CLIENT"):
                    seen.append(name)

    return record
