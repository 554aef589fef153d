"""Many requests of one session at the same time."""

import asyncio
import threading

import pytest
from web.apps import asgi, browser, cookie_value, data_of

from sled_sessions import SessionMiddleware

REQUESTS = 200


def begin(session):
    session["begun"] = True
    return "begun"


def change(session, number):
    session[f"key-{number}"] = number
    session.setdefault(f"list-{number}", []).append(number)


EXPECTED = {"begun": True}
for each in range(REQUESTS):
    EXPECTED |= {f"key-{each}": each, f"list-{each}": [each, each]}


async def request(app, path, cookie):
    async def send(message):
        pass

    headers = [(b"cookie", f"id={cookie}".encode())]
    await app({"type": "http", "path": path, "headers": headers}, None, send)


def interleaved(store, clock, cookie, *, logging_out=False):
    """All requests load the session before the first of them saves it: the worst order there is."""

    async def main():
        all_loaded, loaded = asyncio.Event(), 0

        async def app(scope, receive, send):
            nonlocal loaded
            session = scope["session"]
            change(session, int(scope["path"][1:]))
            loaded += 1
            if loaded == REQUESTS:
                all_loaded.set()
            await all_loaded.wait()
            if logging_out and scope["path"] == f"/{REQUESTS // 2}":
                session.flush()
            await send({"type": "http.response.start", "status": 200, "headers": []})

        middleware = SessionMiddleware(app, store, clock=clock)
        await asyncio.gather(*(request(middleware, f"/{number}", cookie) for number in range(REQUESTS)))

    asyncio.run(main())


def threaded(store, clock, cookie, *, logging_out=False):
    """Each request on a thread of its own, all let loose at once."""
    barrier = threading.Barrier(REQUESTS)

    async def app(scope, receive, send):
        number = int(scope["path"][1:])
        change(scope["session"], number)
        if logging_out and number == REQUESTS // 2:
            scope["session"].flush()
        await send({"type": "http.response.start", "status": 200, "headers": []})

    middleware = SessionMiddleware(app, store, clock=clock)
    errors = []

    def run(number):
        barrier.wait()
        try:
            asyncio.run(request(middleware, f"/{number}", cookie))
        except Exception as error:  # noqa: BLE001 - whatever it is, the test shall see it
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(REQUESTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


@pytest.mark.parametrize("run", [interleaved, threaded])
def test_nothing_is_lost(any_store, clock, run):
    """Of 200 parallel requests, twice, each keeps its own key and both entries of its own list."""
    cookie = cookie_value(browser(asgi({"/": begin}, any_store, clock=clock)).get("/"))
    run(any_store, clock, cookie)
    run(any_store, clock, cookie)
    assert data_of(any_store, cookie, clock) == EXPECTED


@pytest.mark.parametrize("run", [interleaved, threaded])
def test_a_log_out_in_the_middle(any_store, clock, run):
    """When one of 200 parallel requests logs out, the session stays ended, whatever the others still write."""
    cookie = cookie_value(browser(asgi({"/": begin}, any_store, clock=clock)).get("/"))
    run(any_store, clock, cookie, logging_out=True)
    assert data_of(any_store, cookie, clock) == {}
