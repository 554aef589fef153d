"""The examples on a real server."""

import re
import signal
import subprocess
from datetime import timedelta

import httpx2
import pytest
from command import COMMAND
from starlette.testclient import TestClient
from waiting import wait_until
from web.server import serving

from sled_sessions import Id, SledStore
from sled_sessions.examples import counter, login, strongly_typed
from sled_sessions.stores.clock import utc_now


@pytest.fixture(autouse=True)
def now(clock):
    """Start the clock at the real time, which the server and the client use."""
    clock.now = utc_now()


def client(address, **options):
    return httpx2.Client(base_url=f"http://{address}", **options)


def test_counter(store, clock):
    """The counter counts, its cookie matches the reference, and its Sweeper deletes expired sessions."""
    app = counter.make_app(store, sweep_every=timedelta(seconds=0.05))
    with serving(app) as address, client(address) as visitor:
        assert [visitor.get("/").text for _ in range(3)] == [f"Current count: {n}" for n in range(3)]
        cookie = visitor.get("/").headers["set-cookie"]
        assert cookie.partition(";")[2] == " HttpOnly; SameSite=Lax; Path=/; Max-Age=10"
        assert store.count() == 1
        clock.move(timedelta(minutes=1))
        wait_until(lambda: store.count() == 0)
        assert visitor.get("/").text == "Current count: 0"


def test_counter_that_starts_twice(tmp_path):
    """An app on a store that was made at module level can be started again, by one TestClient after the other."""
    store = SledStore.at(tmp_path / "storage")
    app, headers = counter.make_app(store), {}
    for first in (0, 2):
        with store, TestClient(app, headers=headers) as visitor:
            assert [visitor.get("/").text for _ in range(2)] == [f"Current count: {first + n}" for n in range(2)]
            headers = {"cookie": f"id={visitor.cookies['id']}"}
        assert not store.is_open


def test_login(store, clock):
    """A wrong password does not log in, rotating changes the id, and logging out ends the session on the server."""
    with serving(login.make_app(store)) as address, client(address, follow_redirects=True) as visitor:
        assert "Log in" in visitor.get("/private").text
        assert visitor.post("/login", data={"user": "ada", "password": "wrong"}).status_code == 403
        assert visitor.post("/login", data={"user": "grace", "password": ""}).status_code == 403
        assert store.count() == 0
        page = visitor.post("/login", data={"user": "ada", "password": "lovelace"})
        assert "Hello ada" in page.text
        assert page.headers["cache-control"] == "no-store"
        first = visitor.cookies["id"]
        assert 'id="visits">2<' in visitor.post("/rotate").text
        assert store.load(Id.parse(first)) is None
        visitor.post("/logout")
        assert "id" not in visitor.cookies
        assert store.count() == 0


def test_login_over_https(store, clock):
    """With HTTPS the login's cookie has the prefix that binds it to the host."""
    from web.apps import browser

    cookie = browser(login.make_app(store, secure=True)).post("/login", data={"user": "ada", "password": "lovelace"})
    assert cookie.headers["set-cookie"].startswith("__Host-id=")


def test_login_has_an_absolute_limit(store, clock):
    """A login session ends at its absolute limit."""
    app = login.make_app(store, at_most=timedelta(hours=1))
    with serving(app) as address, client(address, follow_redirects=True) as visitor:
        visitor.post("/login", data={"user": "ada", "password": "lovelace"})
        (record,) = store.records()
        assert "_sled_sessions" in record.data
        clock.move(timedelta(hours=1, seconds=1))
        assert "Log in" in visitor.get("/private").text


def test_strongly_typed(store, clock):
    """Typed data is loaded with its types."""
    with serving(strongly_typed.make_app(store)) as address, client(address) as visitor:
        first, second = visitor.get("/").json(), visitor.get("/").json()
    assert (first["pageviews"], second["pageviews"]) == (1, 2)
    assert second["first_seen"] == first["first_seen"]
    assert second["last_seen"] > first["last_seen"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [("counter", "Current count: 0"), ("login", "Log in"), ("strongly-typed", '"pageviews":1'), ("websocket", "Echo")],
)
def test_example_command(name, shown, tmp_path):
    """`sled-sessions example NAME` prints what to look at, and serves the example until Ctrl-C."""
    command = [*COMMAND, "example", name]
    options = ["--port", "0", "--path", str(tmp_path / "storage")]
    log = tmp_path / "log"
    with log.open("w") as output, subprocess.Popen([*command, *options], stdout=output, stderr=output) as server:
        try:
            wait_until(lambda: "running on http://" in log.read_text(), failure=log.read_text)
            page = httpx2.get(re.search(r"http://[\d.]+:\d+", log.read_text())[0])
            assert shown in page.text
            server.send_signal(signal.SIGINT)
            assert server.wait(30) == 0
        finally:
            server.kill()
    assert "What to look at" in log.read_text()
