"""Two server processes, one Valkey: a visitor whose requests a load balancer sends here and there has one session.

    python -m sled_sessions.examples.shared redis://localhost:6379

starts two uvicorn processes and visits them in turn. Each is what a machine of yours would run:

    SESSIONS=redis://localhost:6379 uvicorn --factory sled_sessions.examples.shared:make_app_from_environment

What to look at: the store, and the lifespan that closes it, are all that an app changes to leave one process. With
CACHE, a folder of each process's own, sessions are read from a sled database there, and asked for again from Valkey
after a second; Valkey deletes by itself what has expired, and the sweeper deletes it from there.
"""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from http.cookiejar import CookieJar
from urllib.request import HTTPCookieProcessor, build_opener, urlopen

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from sled_sessions import AsyncCachingStore, AsyncSessionStore, BackendError, Id, SessionMiddleware, SledStore, Sweeper
from sled_sessions.redis import RedisStore


async def count(request: Request) -> PlainTextResponse:
    """Answer with how often this visitor has been here before, and which process says so."""
    counter = request.session.get("counter", 0)
    request.session["counter"] = counter + 1
    return PlainTextResponse(f"Current count: {counter}, says process {os.getpid()}")


async def peek(request: Request) -> PlainTextResponse:
    """Answer without writing."""
    return PlainTextResponse(f"Current count: {request.session.get('counter')}, says process {os.getpid()}")


async def log_out(request: Request) -> PlainTextResponse:
    """End the session, in all processes."""
    request.scope["session"].flush()
    return PlainTextResponse("Good-bye")


async def alive(request: Request) -> PlainTextResponse:
    """What a load balancer asks."""
    return PlainTextResponse("alive")


def make_app_from_environment() -> Starlette:
    """The application for `uvicorn --factory`, on the server that SESSIONS names."""
    url, cache = os.environ["SESSIONS"], os.environ.get("CACHE")

    @contextlib.asynccontextmanager
    async def closing(app: Starlette) -> AsyncIterator[None]:
        async with shared:
            with local or contextlib.nullcontext():
                sweeping = asyncio.create_task(sweeper.run())
                yield
                sweeper.stop()
                await sweeping

    shared = RedisStore.from_url(url)
    local = SledStore.open(cache) if cache else None
    store: AsyncSessionStore = AsyncCachingStore(local, shared) if local else shared
    sweeper = Sweeper(store, timedelta(minutes=1))
    return Starlette(
        routes=[
            Route("/", count),
            Route("/peek", peek),
            Route("/logout", log_out, methods=["POST"]),
            Route("/alive", alive),
        ],
        middleware=[Middleware(SessionMiddleware, store=store, secure=False)],
        lifespan=closing,
    )


@contextlib.contextmanager
def serving(url: str, *, cache: str | None = None) -> Iterator[str]:
    """A uvicorn process of the application, on a free port; gives its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        environment = {**os.environ, "SESSIONS": url, **({"CACHE": cache} if cache else {})}
        command = [sys.executable, "-m", "uvicorn", "--factory", f"{__spec__.name}:make_app_from_environment"]
        process = subprocess.Popen(  # noqa: S603 - it is this very Python
            [*command, "--fd", str(listener.fileno()), "--log-level", "warning"],
            pass_fds=[listener.fileno()],
            env=environment,
        )
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        _wait_for(address, process)
        yield address
    finally:
        process.terminate()
        process.wait(20)


def _wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 30
    while True:
        with contextlib.suppress(OSError), urlopen(f"{address}/alive", timeout=10):  # noqa: S310 - our own http address
            return
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError("uvicorn did not start; what it wrote above says why")
        time.sleep(0.05)


async def _ask(url: str) -> None:
    """Ask the server for something, since two web servers without it would only answer with errors."""
    async with RedisStore.from_url(url) as store:
        await store.load(Id.new())


def main() -> None:
    """Visit two processes in turn and show what they answer."""
    url = sys.argv[1] if len(sys.argv) > 1 else "redis://localhost:6379"
    visitor = build_opener(HTTPCookieProcessor(CookieJar()))
    try:
        asyncio.run(_ask(url))
    except (BackendError, ValueError) as error:
        sys.exit(f"no Valkey or Redis server answers: {error}")
    with serving(url) as one, serving(url) as other:
        for address in [one, other] * 3:
            with visitor.open(address, timeout=10) as answer:
                print(f"{address}  {answer.read().decode()}")  # noqa: T201 - it is a demonstration


if __name__ == "__main__":
    main()
