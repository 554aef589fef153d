"""Serve a web application from a notebook, on a free port of this machine."""

import socket
import threading
import time
from contextlib import suppress
from typing import Any, Self

from sled_sessions.stores.locks import join

START_WITHIN = 10.0  # seconds the application may take to start
STOP_WITHIN = 3  # whole seconds that running requests get to finish when the server stops


class Server:
    """An ASGI application served by uvicorn on a thread, reachable from this machine only. `serve` starts one.

    Attributes:
        url: The server's address, such as `http://127.0.0.1:49152`.
    """

    def __init__(self, app: Any) -> None:
        try:
            import uvicorn
        except ImportError:
            raise ImportError("serving needs uvicorn: pip install 'sled_sessions[web]'") from None
        if not callable(app):
            raise TypeError(f"app must be an ASGI application, not {type(app).__name__}")
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=STOP_WITHIN)
        self._server = uvicorn.Server(config)
        # Outside the main thread uvicorn does not handle signals, so interrupting a cell does not stop the server.
        self._thread = threading.Thread(target=self._run, name="sled_sessions server", daemon=True)
        self._thread.start()
        try:
            self._wait_for_start()
        except BaseException:
            self._server.should_exit = True  # in case the start-up completes later
            raise

    def stop(self) -> None:
        """Finish running requests and stop; does nothing if already stopped.

        Requests that run longer than three more seconds, such as endless streams, are cut off. Threads of
        `asyncio.to_thread` and the application's own shut-down are awaited however long they take.
        """
        self._server.should_exit = True
        join(self._thread)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _wait_for_start(self) -> None:
        end = time.monotonic() + START_WITHIN
        while not self._server.started:
            if not self._thread.is_alive():
                raise RuntimeError("the application did not start; see its log for the reason")
            if time.monotonic() > end:
                raise RuntimeError(f"the application did not start within {START_WITHIN:g} seconds")
            time.sleep(0.005)

    def _run(self) -> None:
        with self._socket, suppress(SystemExit):  # uvicorn's way out when the start-up fails
            self._server.run(sockets=[self._socket])

    def __repr__(self) -> str:
        return f"Server({self.url!r}, {'running' if self._thread.is_alive() else 'stopped'})"


def serve(app: Any) -> Server:
    """Serve an ASGI application until `stop()` or the end of a `with` block.

    Raises:
        ImportError: uvicorn is not installed.
        RuntimeError: The application's start-up failed, or took more than ten seconds.
        TypeError: `app` is not callable.
    """
    return Server(app)
