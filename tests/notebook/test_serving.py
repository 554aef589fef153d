"""serve: an application inside the notebook."""

import asyncio
import threading
from contextlib import asynccontextmanager

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route

from sled_sessions import MemoryStore
from sled_sessions.examples import counter
from sled_sessions.notebook import serve, serving


def test_serving(clock):
    """An application answers on its own port until it is stopped."""
    with serve(counter.make_app(MemoryStore())) as server:
        with httpx2.Client(base_url=server.url) as client:
            assert [client.get("/").text for _ in range(2)] == ["Current count: 0", "Current count: 1"]
        assert "running" in repr(server)
    assert "stopped" in repr(server)
    server.stop()
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(server.url)


def test_failing_start_up(capsys):
    """When the start-up fails, so does serve, and it leaves no thread behind."""

    def fail(app):
        raise RuntimeError("no")

    before = threading.active_count()
    with pytest.raises(RuntimeError, match="did not start"):
        serve(Starlette(lifespan=lambda app: fail(app)))
    assert threading.active_count() == before


def test_hanging_start_up(monkeypatch, capfd):
    """Serve gives up on a start-up that takes too long; the thread ends silently when the start-up does."""
    monkeypatch.setattr(serving, "START_WITHIN", 0.1)
    begun, go_on = threading.Event(), threading.Event()

    @asynccontextmanager
    async def hang(app):
        begun.set()
        await asyncio.to_thread(go_on.wait)
        yield

    before = set(threading.enumerate())
    with pytest.raises(RuntimeError, match=r"within 0\.1 seconds"):
        serve(Starlette(lifespan=hang))
    begun.wait()
    left = set(threading.enumerate()) - before
    go_on.set()
    for thread in left:
        thread.join()
    assert capfd.readouterr() == ("", "")


def test_stopping_cuts_off_an_endless_stream(monkeypatch):
    """A response that never ends does not keep the server from stopping."""
    monkeypatch.setattr(serving, "STOP_WITHIN", 1)

    async def stream(request):
        async def beats():
            while True:
                yield b"beat"
                await asyncio.sleep(0.01)

        return StreamingResponse(beats())

    with serve(Starlette(routes=[Route("/", stream)])) as server, httpx2.stream("GET", server.url) as response:
        answer = response.iter_raw()  # the connection lasts as long as this does
        assert next(answer).startswith(b"beat")
        server.stop()
        assert server._server.config.timeout_graceful_shutdown == 1
    assert "stopped" in repr(server)


@pytest.mark.parametrize("app", [None, "app:app"])
def test_refuses_a_value_that_is_not_callable(app):
    """A value that is not callable is refused before a server starts."""
    with pytest.raises(TypeError, match="must be an ASGI application, not"):
        serve(app)
