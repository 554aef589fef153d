"""One site served by two uvicorn processes, with clients that alternate between them."""

import asyncio
import itertools
import random
import re
import time
from contextlib import ExitStack, asynccontextmanager
from datetime import timedelta

import httpx2
import pytest
from sessions import new_record

from sled_sessions import SledStore, Sweeper
from sled_sessions.examples import shared
from sled_sessions.examples.shared import serving
from sled_sessions.stores.caching import MAX_AGE

pytestmark = pytest.mark.anyio

SESSIONS = 50
ROUNDS = 40


class Visitor:
    """A browser that checks each count it is shown."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self.client = client
        self.cookies: dict[str, str] = {}
        self.counted = 0  # visits with an answer
        self.unknown = 0  # failed visits since, which may or may not have been counted
        self.failed = 0
        self.processes: set[str] = set()

    async def visit(self, address: str) -> None:
        headers = {"cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        answer = await self.client.get(address, headers=headers if self.cookies else None)
        if answer.status_code == 500:
            self.failed += 1
            self.unknown += bool(self.cookies)  # a session whose cookie never arrived cannot be visited again
            return
        assert answer.status_code == 200
        self.cookies |= dict(answer.cookies)
        count, process = re.fullmatch(r"Current count: (\d+), says process (\d+)", answer.text).groups()
        assert self.counted <= int(count) <= self.counted + self.unknown
        self.counted, self.unknown = int(count) + 1, 0
        self.processes.add(process)


@asynccontextmanager
async def visitors(number):
    # A new connection for each request: uvicorn closes the connection after an exception, when the next request may
    # already have been sent on it.
    limits = httpx2.Limits(max_keepalive_connections=0)
    async with httpx2.AsyncClient(timeout=60, limits=limits) as client:
        client.cookies.jar.set_policy(_NoCookies())
        yield [Visitor(client) for _ in range(number)]


class _NoCookies:
    """A policy that stores and sends no cookies: each visitor keeps its own."""

    netscape = rfc2965 = hide_cookie2 = False

    def set_ok(self, cookie, request):
        return False

    def return_ok(self, cookie, request):
        return False

    def domain_return_ok(self, domain, request):
        return False

    def path_return_ok(self, path, request):
        return False


async def visit_in_turn(visitor, addresses, rounds):
    """Visit `rounds` times, each time at the next process."""
    turns = itertools.cycle(random.sample(addresses, len(addresses)))
    for address in itertools.islice(turns, rounds):
        await visitor.visit(address)


async def test_no_request_is_lost_or_counted_twice(served):
    """None of 2,000 requests of 50 sessions, alternating between the processes, is lost or counted twice."""
    with serving(served.url) as one, serving(served.url) as other:
        async with visitors(SESSIONS) as everyone:
            await asyncio.gather(*(visit_in_turn(visitor, [one, other], ROUNDS) for visitor in everyone))
            assert [(visitor.counted, visitor.failed) for visitor in everyone] == [(ROUNDS, 0)] * SESSIONS
            assert all(len(visitor.processes) == 2 for visitor in everyone)


@pytest.fixture(params=["own_server", "own_cluster"])
def own_servers(request):
    return request.getfixturevalue(request.param)


@pytest.mark.timeout(240)
async def test_node_is_killed_during_requests(own_servers, record_property):
    """While a node is down requests fail individually and in bounded time; no session ever shows a wrong count."""
    node = own_servers.nodes[1] if hasattr(own_servers, "nodes") else own_servers
    with serving(own_servers.url) as one, serving(own_servers.url) as other:
        async with visitors(SESSIONS) as everyone:

            async def all_visit(rounds):
                await asyncio.gather(*(visit_in_turn(visitor, [one, other], rounds) for visitor in everyone))

            await all_visit(ROUNDS // 4)
            visiting = asyncio.create_task(all_visit(ROUNDS // 2))
            await asyncio.sleep(0.2)
            node.kill()
            await asyncio.sleep(6)
            node.start()
            own_servers.wait()
            await visiting
            for visitor in everyone:  # until each has been served again
                while visitor.unknown or not visitor.counted:
                    await visitor.visit(one)
            before = [visitor.counted for visitor in everyone]
            failed = sum(visitor.failed for visitor in everyone)
            record_property("failed", failed)
            assert failed > 0
            await all_visit(ROUNDS // 4)
            assert [visitor.counted for visitor in everyone] == [count + ROUNDS // 4 for count in before]
            assert sum(visitor.failed for visitor in everyone) == failed


@pytest.fixture
def machines(server, tmp_path):
    """Two processes with separate caches, as on two machines."""
    with ExitStack() as stack:
        yield [stack.enter_context(serving(server.url, cache=str(tmp_path / name))) for name in "AB"]


async def test_cache_is_swept(server, tmp_path, monkeypatch):
    """A process sweeps expired sessions from its local cache, which no server does."""
    swept = asyncio.Event()

    def frequent_sweeper(store, period):
        return Sweeper(store, timedelta(milliseconds=10), on_sweep=lambda report: swept.set())

    monkeypatch.setattr(shared, "Sweeper", frequent_sweeper)
    monkeypatch.setenv("SESSIONS", server.url)
    monkeypatch.setenv("CACHE", str(tmp_path))
    with SledStore.open(tmp_path) as cache:
        cache.save(new_record(-1))
    app = shared.make_app_from_environment()
    async with app.router.lifespan_context(app), asyncio.timeout(20):
        await swept.wait()
    with SledStore.open(tmp_path) as cache:
        assert cache.count() == 0


async def test_log_out_on_another_machine(machines):
    """A session in machine B's cache is gone there a second after it was logged out on machine A."""
    a, b = machines
    async with visitors(1) as (visitor,):
        await visitor.visit(a)
        headers = {"cookie": f"id={visitor.cookies['id']}"}
        assert "count: 1" in (await visitor.client.get(f"{b}/peek", headers=headers)).text
        assert (await visitor.client.post(f"{a}/logout", headers=headers)).text == "Good-bye"
        gone = time.monotonic() + MAX_AGE.total_seconds()
        assert "count: None" in (await visitor.client.get(f"{a}/peek", headers=headers)).text
        await asyncio.sleep(max(0, gone - time.monotonic()))
        assert "count: None" in (await visitor.client.get(f"{b}/peek", headers=headers)).text


async def test_counts_with_sticky_sessions(machines):
    """Visitors who stay on one machine, as with sticky sessions, are counted correctly with its cache."""
    async with visitors(20) as everyone:
        await asyncio.gather(*(visit_in_turn(v, [machines[n % 2]], 10) for n, v in enumerate(everyone)))
        assert [(visitor.counted, visitor.failed) for visitor in everyone] == [(10, 0)] * 20
