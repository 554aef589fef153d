"""Count the Python calls of one counter request, and time it.

    python tests/benchmarks/calls.py                      # calls, files, and switches between files
    python tests/benchmarks/calls.py --time               # and microseconds per request
    python tests/benchmarks/calls.py --time --beside DIR  # the same for another checkout, in turns with this one

This file uses only public names of `sled_sessions`, so it also measures older versions: `PYTHONPATH=DIR` selects one.
"""

import argparse
import asyncio
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import sled_sessions
from sled_sessions import SessionMiddleware, SledStore

VISITORS = 200
REQUESTS = 2000
"""Requests in one round of timing."""

_PACKAGE = str(Path(sled_sessions.__file__).parent) + os.sep


class Calls(NamedTuple):
    """The Python functions of the package that one request calls.

    Attributes:
        sequence: For each call, in order, the file (relative to the package) and the function.
    """

    sequence: list[tuple[str, str]]

    @property
    def calls(self) -> int:
        """The number of calls; resuming a coroutine or a generator counts as one."""
        return len(self.sequence)

    @property
    def files(self) -> int:
        """The number of different files."""
        return len({file for file, _ in self.sequence})

    @property
    def switches(self) -> int:
        """How often a call is in another file than the call before it."""
        return sum(before != after for (before, _), (after, _) in itertools.pairwise(self.sequence))

    def __str__(self) -> str:
        return f"{self.calls} Python calls in {self.files} files, with {self.switches} switches between files"


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Count in the session; the least that a counter app can do."""
    session = scope["session"]
    session["n"] = session.get("n", 0) + 1
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def receive() -> dict[str, Any]:
    """An empty request body."""
    return {"type": "http.request"}


class Visitors:
    """Visitors whose sessions are known to a store, and the event loop that serves them.

    Args:
        store: The store. Its index must have a long step, so that no request moves its session to another one.
        number: The number of visitors.
    """

    def __init__(self, store: SledStore, number: int) -> None:
        self._app = SessionMiddleware(app, store)
        self._loop = asyncio.new_event_loop()
        self._cookies = [self._serve(None) for _ in range(number)]
        for cookie in self._cookies:
            self._serve(cookie)
        self._turn = itertools.cycle(self._cookies)

    def count(self) -> Calls:
        """The calls of one request."""
        sequence: list[tuple[str, str]] = []

        def profile(frame: FrameType, event: str, arg: object) -> None:
            code = frame.f_code
            if event == "call" and code.co_filename.startswith(_PACKAGE):
                sequence.append((code.co_filename.removeprefix(_PACKAGE), code.co_qualname))

        scope = self._scope(next(self._turn))

        async def serve() -> None:
            sys.setprofile(profile)
            try:
                await self._app(scope, receive, self._discard)
            finally:
                sys.setprofile(None)

        self._loop.run_until_complete(serve())
        return Calls(sequence)

    def time(self, requests: int = REQUESTS) -> float:
        """Seconds per request, over so many requests of all visitors in turn."""
        scopes = [self._scope(cookie) for cookie in itertools.islice(self._turn, requests)]

        async def serve() -> float:
            start = time.perf_counter()
            for scope in scopes:
                await self._app(scope, receive, self._discard)
            return (time.perf_counter() - start) / requests

        return self._loop.run_until_complete(serve())

    def close(self) -> None:
        """Close the event loop."""
        self._loop.close()

    def _serve(self, cookie: bytes | None) -> bytes:
        """Serve one request; returns the cookie that the response sets."""
        headers: list[tuple[bytes, bytes]] = []

        async def send(message: Any) -> None:
            headers.extend(message.get("headers", ()))

        self._loop.run_until_complete(self._app(self._scope(cookie), receive, send))
        return dict(headers)[b"set-cookie"].partition(b";")[0]

    @staticmethod
    async def _discard(message: Any) -> None:
        pass

    @staticmethod
    def _scope(cookie: bytes | None) -> dict[str, Any]:
        headers = [(b"host", b"example.org")] + ([(b"cookie", cookie)] if cookie is not None else [])
        return {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": headers}


@contextmanager
def visitors(number: int = VISITORS) -> Iterator[Visitors]:
    """Visitors with sessions in a temporary database."""
    with (
        tempfile.TemporaryDirectory() as folder,
        SledStore.open(Path(folder) / "storage", resolution=timedelta(days=1)) as store,
        closing(Visitors(store, number)) as opened,
    ):
        yield opened


def count() -> Calls:
    """The calls of one counter request."""
    with visitors(1) as opened:
        return opened.count()


def _answer() -> None:
    """For each line of standard input, print the calls of a request or the seconds per request in one round."""
    with visitors() as opened:
        for question in sys.stdin:
            print(opened.count() if question == "count\n" else opened.time(), flush=True)


@contextmanager
def _process(checkout: Path) -> Iterator[Callable[[str], str]]:
    """A process that runs `_answer` with a checkout's package, as a function from a question to its answer."""
    with subprocess.Popen(
        [sys.executable, __file__, "--answer"],
        env={**os.environ, "PYTHONPATH": str(checkout)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        ask, answers = process.stdin, process.stdout

        def answer(question: str) -> str:
            ask.write(f"{question}\n")
            return answers.readline().strip()

        try:
            yield answer
        finally:
            ask.close()


def main() -> None:
    """Print the calls of each checkout, and with `--time` their times and the ratios to the first one."""
    parser = argparse.ArgumentParser(description="Count the Python calls of one counter request, and time it.")
    parser.add_argument("--time", action="store_true", help="also measure the time of a request")
    parser.add_argument("--beside", metavar="DIR", type=Path, help="also measure the checkout in this folder")
    parser.add_argument("--rounds", type=int, default=30, help="rounds of timing; medians are printed [default: 30]")
    parser.add_argument("--answer", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.answer:
        _answer()
        return
    checkouts = [Path(_PACKAGE).parent, *([options.beside.resolve()] if options.beside else [])]
    with ExitStack() as stack:
        processes = [stack.enter_context(_process(checkout)) for checkout in checkouts]
        for checkout, ask in zip(checkouts, processes, strict=True):
            print(f"{checkout}: {ask('count')}")
        if not options.time:
            return
        rounds = [[float(ask("time")) for ask in processes] for _ in range(options.rounds)]
    for place, checkout in enumerate(checkouts):
        seconds = statistics.median(each[place] for each in rounds)
        ratio = statistics.median(each[place] / each[0] for each in rounds)
        print(f"{checkout}: {seconds * 1e6:.1f} µs per request, {ratio:.3f} of the first")


if __name__ == "__main__":
    main()
