"""Two server processes share sessions in Valkey, so that a load balancer may send a visitor to either.

    python -m sled_sessions.examples.shared redis://localhost:6379

starts two uvicorn processes and visits them in turn. On your machines, each would run

    SESSIONS=redis://localhost:6379 uvicorn --factory sled_sessions.examples.shared:make_app_from_environment

What to look at: to run in several processes, an application changes only its store and the lifespan that closes it.
If CACHE names a folder, one for each process, sessions are cached there in a sled database and read again from Valkey
after a second. Valkey deletes expired sessions by itself; the Sweeper deletes them from the cache.
"""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from http.cookiejar import CookieJar
from urllib.request import HTTPCookieProcessor, build_opener, urlopen

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from sled_sessions import (
    AsyncCachingStore,
    AsyncSessionStore,
    BackendError,
    Id,
    SessionMiddleware,
    SledStore,
    Sweeper,
    session_of,
)
from sled_sessions.redis import RedisStore


async def count(request: Request) -> PlainTextResponse:
    """Show how many requests this visitor has made before, and which process answers."""
    counter = request.session.get("counter", 0)
    request.session["counter"] = counter + 1
    return PlainTextResponse(f"Current count: {counter}, says process {os.getpid()}")


async def peek(request: Request) -> PlainTextResponse:
    """Show the count without changing it."""
    return PlainTextResponse(f"Current count: {request.session.get('counter')}, says process {os.getpid()}")


async def log_out(request: Request) -> PlainTextResponse:
    """End the session for all processes."""
    session_of(request).flush()
    return PlainTextResponse("Good-bye")


def make_app_from_environment() -> Starlette:
    """Create the application for `uvicorn --factory`, with its sessions on the server that SESSIONS names."""
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
    local = SledStore.at(cache) if cache else None
    store: AsyncSessionStore = AsyncCachingStore(local, shared) if local else shared
    sweeper = Sweeper(store, timedelta(minutes=1))
    return Starlette(
        routes=[Route("/", count), Route("/peek", peek), Route("/logout", log_out, methods=["POST"])],
        middleware=[Middleware(SessionMiddleware, store=store, secure=False)],
        lifespan=closing,
    )


@contextlib.contextmanager
def serving(url: str, *, cache: str | None = None) -> Iterator[str]:
    """Run the application in a uvicorn process on a free port; the context is its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        environment = {**os.environ, "SESSIONS": url, **({"CACHE": cache} if cache else {})}
        command = [sys.executable, "-m", "uvicorn", "--factory", f"{__spec__.name}:make_app_from_environment"]
        process = subprocess.Popen(  # noqa: S603 - this Python
            [*command, "--fd", str(listener.fileno()), "--log-level", "warning"],
            pass_fds=[listener.fileno()],
            env=environment,
        )
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        try:
            urlopen(f"{address}/peek", timeout=30).close()  # noqa: S310 - waits in the socket's queue for uvicorn
        except OSError:
            raise RuntimeError("uvicorn did not start; see its output above") from None
        yield address
    finally:
        process.terminate()
        process.wait(20)


async def _check(url: str) -> None:
    """Send the Valkey server a request: without it, both web servers would only answer with errors."""
    async with RedisStore.from_url(url) as store:
        await store.load(Id.new())


def main() -> None:
    """Visit two processes in turn and print their answers."""
    url = sys.argv[1] if len(sys.argv) > 1 else "redis://localhost:6379"
    visitor = build_opener(HTTPCookieProcessor(CookieJar()))
    try:
        asyncio.run(_check(url))
    except (BackendError, ValueError) as error:
        sys.exit(f"no Valkey or Redis server answers: {error}")
    with serving(url) as one, serving(url) as other:
        for address in [one, other] * 3:
            with visitor.open(address, timeout=10) as answer:
                print(f"{address}  {answer.read().decode()}")  # noqa: T201 - a demonstration


if __name__ == "__main__":
    main()
