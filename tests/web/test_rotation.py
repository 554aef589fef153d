"""Requests around a login: what is under way with the id that it changes neither undoes it nor takes part in it."""

import asyncio
import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from datetime import timedelta

import httpx2
import pytest
from servers import shared_server
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import Route
from store_factories import SERVED_STORES, STORES
from web.apps import data_of
from web.messages import START, headers_of, new_session, run
from web.server import serving

from sled_sessions import Expiry, Id, MemoryStore, SessionMiddleware
from sled_sessions.redis import RedisStore

GRACE = 60
"""Seconds of the middleware's default `rotation_grace`."""


def request_meanwhile(*arguments):
    """Serve another request while the app of one is running; returns its Set-Cookie header."""
    with ThreadPoolExecutor(1) as thread:  # which has no event loop yet
        return thread.submit(request, *arguments).result(20)


def request(store, clock, cookie, act, *, status=200, kind="http", **options):
    """Serve one request whose app does this to its session; returns the Set-Cookie header, None without one."""

    async def app(scope, receive, send):
        result = act(scope["session"])
        if result is not None:
            scope["session"] = result
        await send({**START, "status": status, "type": START["type"] if kind == "http" else "websocket.accept"})

    (start,) = run(SessionMiddleware(app, store, clock=clock, **options), cookie=cookie, kind=kind)
    return headers_of(start).get("set-cookie")


def log_in(session):
    session.cycle_id()
    session["user"] = "ada"


def id_in(cookie):
    return cookie[len("id=") :].partition(";")[0]


@pytest.fixture
def old(store, clock) -> str:
    """The id of a session that a login has just given another id."""
    cookie = new_session(store, clock, cart=[1])
    assert id_in(request(store, clock, cookie, log_in)) != cookie
    return cookie


def write(session):
    session["draft"] = "text"


def write_inside(session):
    session.setdefault("cart", []).append(2)


def read(session):
    assert dict(session) == {}
    assert session.id is None


def change_id_only(session):
    session.cycle_id()


def replace(session):
    return {"draft": "text"}


def replace_by_nothing(session):
    return {}


@pytest.mark.parametrize("act", [read, write, write_inside, change_id_only, replace, replace_by_nothing])
@pytest.mark.parametrize("options", [{}, {"always_save": True}], ids=["", "always-save"])
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_arrives_with_the_old_id(store, as_store, clock, old, caplog, act, options, kind):
    """A request with an id just changed has no session, writes nothing and leaves the cookie alone; the log says so."""
    before = [*store.records()]
    assert request(as_store(store), clock, old, act, kind=kind, **options) is None
    assert [*store.records()] == before
    assert ("was dropped" in caplog.text) is (act in (write, write_inside, replace))
    assert old[:6] not in caplog.text


def test_unused_with_always_save(store, as_store, clock, old):
    """With `always_save` a request that does not use its session leaves the cookie alone, too."""
    assert request(as_store(store), clock, old, lambda session: None, always_save=True) is None


def test_log_out_with_the_old_id(store, as_store, clock, old):
    """A log-out with an id just changed removes the cookie, and ends nothing that it does not know."""
    assert request(as_store(store), clock, old, lambda session: session.flush()).startswith("id=; ")
    assert store.count() == 1


@pytest.mark.parametrize("begin", ["flush", "cycle_id"])
def test_begins_anew_with_the_old_id(store, as_store, clock, old, begin):
    """A login that is sent twice, or that starts from an empty session, begins another session with what it sets."""

    def begin_anew(session):
        getattr(session, begin)()
        session["user"] = "ada"

    new = id_in(request(as_store(store), clock, old, begin_anew))
    assert new != old
    assert data_of(store, new, clock) == {"user": "ada"}
    assert store.count() == 2


@pytest.mark.parametrize("act", [write, log_in])
def test_failed_with_the_old_id(store, as_store, clock, old, act):
    """A response with a 5xx sets no cookie."""
    assert request(as_store(store), clock, old, act, status=503) is None
    assert store.count() == 1


def test_login_that_starts_from_an_empty_session(store, as_store, clock):
    """A login by `flush()` and new data marks the old id as `cycle_id()` does; a log-out does not."""

    def start_afresh(session):
        session.flush()
        session["user"] = "ada"

    cookie = new_session(store, clock, cart=[1])
    assert id_in(request(as_store(store), clock, cookie, start_afresh)) != cookie
    assert request(as_store(store), clock, cookie, write) is None
    assert store.count() == 1
    ended = new_session(store, clock, cart=[1])
    request(as_store(store), clock, ended, lambda session: session.flush())
    assert request(as_store(store), clock, ended, read).startswith("id=; ")


def test_after_the_grace(store, as_store, clock, old):
    """When its mark has ended, an id that was changed is an unknown id."""
    clock.move(timedelta(seconds=GRACE - 0.000001))
    assert request(as_store(store), clock, old, read) is None
    clock.move(timedelta(microseconds=1))
    assert request(as_store(store), clock, old, read).startswith("id=; ")
    assert data_of(store, id_in(request(as_store(store), clock, old, write)), clock) == {"draft": "text"}


def test_other_grace(store, as_store, clock):
    """`rotation_grace` sets how long the mark lasts; with zero there is none."""
    for grace in (timedelta(seconds=5), timedelta(0)):
        cookie = new_session(store, clock, n=1)
        request(as_store(store), clock, cookie, log_in, rotation_grace=grace)
        assert store.was_rotated(Id.parse(cookie)) is bool(grace)
        clock.move(timedelta(seconds=5))
        assert store.was_rotated(Id.parse(cookie)) is False


@pytest.mark.parametrize(
    ("grace", "error"), [(60, TypeError), (timedelta(-1), ValueError), (timedelta(days=1, seconds=1), ValueError)]
)
def test_wrong_grace(store, grace, error):
    """A grace that is no timedelta, negative or longer than a day is refused."""
    with pytest.raises(error, match="rotation_grace"):
        SessionMiddleware(None, store, rotation_grace=grace)


def end_at_once(session):
    session.expiry = Expiry.at(session.expiry_date - timedelta(days=365))


@pytest.mark.parametrize(
    "act", [write, write_inside, lambda session: session.clear(), replace, replace_by_nothing, end_at_once, log_in]
)
def test_login_during_a_request(store, as_store, clock, caplog, act):
    """A request that loaded its session before a login touches neither the cookie, unless it logs in, nor the login."""
    cookie, logins = new_session(store, clock, cart=[1]), []

    def meanwhile(session):
        found = act(session)
        session.load()
        logins.append(id_in(request_meanwhile(store, clock, cookie, log_in)))
        return found

    answered = request(as_store(store), clock, cookie, meanwhile)
    assert data_of(store, logins[0], clock) == {"cart": [1], "user": "ada"}
    if act is log_in:
        assert data_of(store, id_in(answered), clock) == {"user": "ada"}
    else:
        assert answered is None
        assert store.count() == 1


def test_log_out_during_a_login(store, as_store, clock):
    """A login whose session was ended by a log-out brings nothing back and leaves the cookie alone."""
    cookie = new_session(store, clock, cart=[1])

    def meanwhile(session):
        log_in(session)
        request_meanwhile(store, clock, cookie, lambda session: session.flush())

    assert request(as_store(store), clock, cookie, meanwhile) is None
    assert store.count() == 0


def test_login_during_a_log_out(store, as_store, clock):
    """A log-out that loaded its session before a login removes the cookie, and does not end what it did not load."""
    cookie = new_session(store, clock, cart=[1])

    def meanwhile(session):
        session.flush()
        request_meanwhile(store, clock, cookie, log_in)

    assert request(as_store(store), clock, cookie, meanwhile).startswith("id=; ")
    assert store.count() == 1


def test_changes_in_place_are_not_shared(store, as_store, clock):
    """A login sent twice takes along what it has changed in place, and no other data of the session that it loaded."""
    cookie = new_session(store, clock, cart=[1], seen=[1], secret="s")

    def meanwhile(session):
        session["cart"].append(2)
        assert session["seen"] == [1]
        log_in(session)
        request_meanwhile(store, clock, cookie, log_in)

    new = id_in(request(as_store(store), clock, cookie, meanwhile))
    assert data_of(store, new, clock) == {"cart": [1, 2], "user": "ada"}


def test_mark_is_asked_for_only_when_an_id_is_unknown(clock):
    """A request with a known id, or without one, does not ask for a mark."""

    class Silent(MemoryStore):
        def was_rotated(self, id):
            raise AssertionError("asked for a mark")

    store = Silent(clock=clock)
    cookie = new_session(store, clock, n=1)
    assert request(store, clock, cookie, write) is not None
    assert request(store, clock, cookie, log_in) is not None
    assert request(store, clock, "malformed", write) is not None


def make_app(store, closing=None):
    """An app with pages that begin a session, save or read slowly, log in and log out.

    The one that saves answers after the login: a browser may process two responses that are sent at the same moment in
    either order, and the one that was saved under the old id before the login has its cookie.
    """
    has_logged_in = asyncio.Event()

    async def begin(request):
        has_logged_in.clear()
        request.session["begun"] = True
        return JSONResponse({})

    async def save(request):
        request.session["draft"] = "text"
        await asyncio.wait_for(has_logged_in.wait(), 20)
        return JSONResponse(dict(request.session))

    async def read(request):
        await asyncio.sleep(random.uniform(0, 0.02))
        return JSONResponse(dict(request.session))

    async def logging_in(request):
        await asyncio.sleep(random.uniform(0, 0.01))
        request.session.cycle_id()
        request.session["user"] = "ada"
        return JSONResponse({}, background=BackgroundTask(announce))

    async def announce():
        has_logged_in.set()

    async def show(request):
        return JSONResponse(dict(request.session))

    async def log_out(request):
        request.session.flush()
        return JSONResponse({})

    @asynccontextmanager
    async def lifespan(app):
        async with closing or AsyncExitStack():
            yield

    pages = {"begin": begin, "save": save, "read": read, "login": logging_in, "show": show, "logout": log_out}
    return Starlette(
        routes=[Route(f"/{name}", page) for name, page in pages.items()],
        middleware=[Middleware(SessionMiddleware, store=store, secure=False)],
        lifespan=lifespan,
    )


async def fetches_around_a_login(client):
    """Send ten requests before, during and after a login, with whatever cookie there is then; returns what is left."""
    client.cookies.clear()
    await client.get("/begin")
    old = client.cookies["id"]

    async def slow(number):
        await asyncio.sleep(random.uniform(0, 0.02))
        is_old = client.cookies["id"] == old
        return is_old, (await client.get("/read" if number % 2 else "/save")).json()

    *answers, _ = await asyncio.gather(*(slow(number) for number in range(10)), client.get("/login"))
    assert not any("user" in seen for is_old, seen in answers if is_old)
    assert client.cookies["id"] != old
    return (await client.get("/show")).json()


@pytest.mark.parametrize("name", ["memory", "sled-index", "caching", "redis-valkey", "caching-redis"])
def test_parallel_requests_on_a_real_server(tmp_path, clock, name):
    """Whatever ten parallel requests do around a login, the visitor is logged in afterwards, ten times in a row."""

    async def main(address):
        async with httpx2.AsyncClient(base_url=f"http://{address}", timeout=30) as client:
            for _ in range(10):
                assert (await fetches_around_a_login(client)).get("user") == "ada"

    with (
        (STORES | SERVED_STORES)[name](tmp_path, clock) as store,
        serving(make_app(getattr(store, "awaited", store))) as address,
    ):
        asyncio.run(main(address))


@pytest.fixture
def two_servers():
    """The addresses of two servers that share one Valkey."""
    server = shared_server()
    server.flush()
    with ExitStack() as stack:
        stores = [RedisStore.from_url(server.url) for _ in range(2)]
        yield [stack.enter_context(serving(make_app(store, closing=store))) for store in stores]


def test_two_logins_at_the_same_moment(two_servers):
    """Of two logins with one id, on two servers, both begin a session; the old id opens none."""

    async def main():
        async with httpx2.AsyncClient(timeout=30) as client:

            async def get(address, page, cookie=""):
                client.cookies.clear()
                return await client.get(f"http://{address}/{page}", headers={"cookie": cookie})

            for _ in range(20):
                old = f"id={(await get(two_servers[0], 'begin')).cookies['id']}"
                answers = await asyncio.gather(*(get(address, "login", old) for address in two_servers))
                ids = {answer.cookies["id"] for answer in answers}
                assert len(ids) == 2
                shown = [(await get(two_servers[0], "show", f"id={id}")).json() for id in ids]
                assert sorted(map(len, shown)) == [1, 2]  # one has moved the session, the other has begun one
                assert all(data["user"] == "ada" for data in shown)
                assert (await get(two_servers[1], "show", old)).json() == {}

    asyncio.run(main())
