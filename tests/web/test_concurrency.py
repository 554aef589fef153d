"""Many simultaneous requests of one session."""

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
    """Run all requests on one event loop; each loads the session before the first one saves it, the worst order."""

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
    """Run each request on its own thread, all starting at once."""
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
        except Exception as error:  # noqa: BLE001 - any error fails the test below
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(REQUESTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


@pytest.mark.parametrize("run", [interleaved, threaded])
def test_no_change_is_lost(any_store, clock, run):
    """Each of 200 parallel requests, run twice, keeps its own key and both entries of its own list."""
    cookie = cookie_value(browser(asgi({"/": begin}, any_store, clock=clock)).get("/"))
    run(any_store, clock, cookie)
    run(any_store, clock, cookie)
    assert data_of(any_store, cookie, clock) == EXPECTED


@pytest.mark.parametrize("run", [interleaved, threaded])
def test_log_out_among_parallel_requests(any_store, clock, run):
    """If one of 200 parallel requests logs out, the session stays ended, whatever the others write."""
    cookie = cookie_value(browser(asgi({"/": begin}, any_store, clock=clock)).get("/"))
    run(any_store, clock, cookie, logging_out=True)
    assert data_of(any_store, cookie, clock) == {}
