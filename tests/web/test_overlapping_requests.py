"""Overlapping requests of one session: changes are merged, and an ended session stays ended."""

import pytest
from web.apps import data_of
from web.messages import BODY, START, headers_of, new_session, run

from sled_sessions import (
    SessionMiddleware,
)


def test_changed_after_another_request_ended_it(store, as_store, clock):
    """A slow request does not restore a session that another one has ended, nor does it touch the cookie."""
    cookie = new_session(store, clock, n=0)

    async def app(scope, receive, send):
        scope["session"]["n"] = 1
        (record,) = store.records()
        store.delete(record.id)
        await send(START)
        scope["session"]["n"] = 2
        await send(BODY)

    start, _ = run(SessionMiddleware(app, as_store(store), clock=clock), cookie=cookie)
    assert "set-cookie" not in headers_of(start)
    assert store.count() == 0


@pytest.mark.parametrize("act", ["cycle_id", "clear", "flush"])
def test_cycled_or_cleared_after_another_request_ended_it(store, as_store, clock, act):
    """Neither a new id, nor clearing, nor a log-out restores an ended session; only the log-out removes the cookie."""
    cookie = new_session(store, clock, n=0)

    async def app(scope, receive, send):
        getattr(scope["session"], act)()
        (record,) = store.records()
        store.delete(record.id)
        await send(START)
        await send(BODY)

    start, _ = run(SessionMiddleware(app, as_store(store), clock=clock), cookie=cookie)
    assert headers_of(start).get("set-cookie", "").startswith("id=; ") is (act == "flush")
    assert store.count() == 0


def test_parallel_requests_are_merged(store, as_store, clock):
    """Two simultaneous requests keep each other's keys; if both set a key, the later one wins."""
    cookie = new_session(store, clock, shared=0, gone=0, kept=0)

    async def slow(scope, receive, send):
        session = scope["session"]
        session["slow"] = session["shared"] = 1
        del session["gone"]

        async def fast(scope, receive, send):
            scope["session"].update(fast=1, shared=2, gone=2)
            await send(START)

        async def ignore(message):
            pass

        await SessionMiddleware(fast, as_store(store), clock=clock)(
            {"type": "http", "path": "/", "headers": scope["headers"]}, receive, ignore
        )
        await send(START)
        await send(BODY)

    run(SessionMiddleware(slow, as_store(store), clock=clock), cookie=cookie)
    assert data_of(store, cookie, clock) == {"slow": 1, "fast": 1, "shared": 1, "kept": 0}


def test_clearing_keeps_keys_of_other_requests(store, as_store, clock):
    """Removing the last key that a request has seen does not end a session to which another one has added."""
    cookie = new_session(store, clock, flash="saved!")

    async def app(scope, receive, send):
        scope["session"].pop("flash")
        (record,) = store.records()
        store.save(type(record)(record.id, {**record.data, "cart": [1]}, record.expiry_date))
        await send(START)
        await send(BODY)

    run(SessionMiddleware(app, as_store(store), clock=clock), cookie=cookie)
    assert data_of(store, cookie, clock) == {"cart": [1]}


def test_cycle_id_keeps_keys_of_other_requests(store, as_store, clock):
    """A login keeps what another request wrote under the old id in the meantime."""
    cookie = new_session(store, clock, cart=[])

    async def app(scope, receive, send):
        scope["session"].cycle_id()
        (record,) = store.records()
        store.save(type(record)(record.id, {**record.data, "cart": [1]}, record.expiry_date))
        await send(START)
        await send(BODY)

    start, _ = run(SessionMiddleware(app, as_store(store), clock=clock), cookie=cookie)
    new = headers_of(start)["set-cookie"][3:25]
    assert data_of(store, new, clock) == {"cart": [1]}
    assert store.count() == 1
