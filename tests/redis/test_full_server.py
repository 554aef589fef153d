"""A server at its memory limit: it refuses writes, and sessions end all the same."""

import pytest
from servers import BINARIES, Server
from web.messages import headers_of

from sled_sessions import BackendError, SessionMiddleware
from sled_sessions.redis import RedisStore

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module", params=BINARIES.values(), ids=BINARIES)
def server(request):
    """A server of its own, whose limit can be moved."""
    server = Server("--maxmemory-policy", "noeviction", binary=request.param)
    yield server
    server.kill()


def put(session):
    session["user"] = "ada"


ENDS = {
    "clear": lambda session: session.clear(),
    "pop": lambda session: session.pop("user"),
    "flush": lambda session: session.flush(),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
async def test_sessions_end(server, end):
    """`clear()`, `pop()` of the last key and `flush()` end a session on a full server, and the cookie is removed."""

    async def app(scope, receive, send):
        act(scope["session"])
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def request(headers):
        sent = []

        async def send(message):
            sent.append(message)

        await middleware({"type": "http", "path": "/", "headers": headers}, None, send)
        return headers_of(sent[0])["set-cookie"]

    async with RedisStore.from_url(server.url) as store:
        middleware, act = SessionMiddleware(app, store), put
        cookie = await request([])
        with server.client() as client:
            client.config_set("maxmemory", 1)
            try:
                with pytest.raises(BackendError, match="memory"):
                    await request([])
                act = end
                removal = await request([(b"cookie", cookie.partition(";")[0].encode())])
            finally:
                client.config_set("maxmemory", 0)
        assert "Max-Age=0" in removal
        assert await store.count() == 0
