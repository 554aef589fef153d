"""The login example on a real server, in a real browser."""

import shutil
from collections.abc import Iterator
from datetime import timedelta

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.expected_conditions import text_to_be_present_in_element, title_is
from selenium.webdriver.support.wait import WebDriverWait
from web.apps import asgi, count
from web.server import serving
from web.test_rotation import make_app

from sled_sessions import Id, MemoryStore, SledStore, sled
from sled_sessions.examples import login
from sled_sessions.stores.clock import utc_now

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")

pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="needs Chromium and its driver: apt-get install chromium chromium-driver"
)


@pytest.fixture(scope="module")
def chromium() -> Iterator[webdriver.Chrome]:
    options = Options()
    options.binary_location = CHROMIUM
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(flag)
    with webdriver.Chrome(options=options, service=Service(DRIVER)) as browser:
        browser.implicitly_wait(5)
        yield browser


@pytest.fixture
def store(tmp_path, clock) -> Iterator[SledStore]:
    clock.now = utc_now()
    with sled.open(tmp_path / "storage") as db:
        yield SledStore(db.open_tree("session"), clock=clock)


@pytest.fixture
def visit(chromium, store) -> Iterator[webdriver.Chrome]:
    """The browser on the example's first page, without cookies."""
    with serving(login.make_app(store)) as address:
        chromium.get(f"http://{address}/")
        chromium.delete_all_cookies()
        yield chromium


def log_in(browser):
    browser.find_element(By.NAME, "user").send_keys("ada")
    browser.find_element(By.NAME, "password").send_keys("lovelace")
    browser.find_element(By.ID, "login").click()
    return browser.find_element(By.ID, "visits").text


def log_out(browser):
    browser.find_element(By.ID, "logout").click()
    WebDriverWait(browser, 5).until(title_is("Log in"))  # a click may return before the next page has loaded


def cookie_of(browser):
    return (browser.get_cookie("id") or {}).get("value")


def test_log_in_and_count(visit):
    """The browser keeps the cookie with its attributes, and each visit counts."""
    assert cookie_of(visit) is None
    assert log_in(visit) == "1"
    cookie = visit.get_cookie("id")
    assert (cookie["httpOnly"], cookie["secure"], cookie["sameSite"], cookie["path"]) == (True, False, "Lax", "/")
    assert visit.execute_script("return document.cookie") == ""
    visit.refresh()
    assert visit.find_element(By.ID, "visits").text == "2"


def test_rotate(visit, store):
    """Rotation replaces the id in the browser, and the count continues."""
    log_in(visit)
    old = cookie_of(visit)
    visit.find_element(By.ID, "rotate").click()
    WebDriverWait(visit, 5).until(text_to_be_present_in_element((By.ID, "visits"), "2"))
    assert cookie_of(visit) not in (None, old)
    assert store.load(Id.parse(old)) is None


def test_log_out(visit, store):
    """After log-out the cookie is gone, the back button shows nothing private, and a stolen cookie is useless."""
    log_in(visit)
    private, stolen = visit.current_url, cookie_of(visit)
    log_out(visit)
    assert cookie_of(visit) is None
    assert store.count() == 0
    visit.back()
    assert visit.title == "Log in"
    assert "Hello" not in visit.page_source
    visit.add_cookie({"name": "id", "value": stolen})
    visit.get(private)
    assert visit.title == "Log in"


def test_expire(visit, clock):
    """After the idle time the visitor must log in again, and the browser has no cookie."""
    log_in(visit)
    clock.move(timedelta(minutes=16))
    visit.refresh()
    assert visit.title == "Log in"
    assert cookie_of(visit) is None


def test_planted_cookie(visit):
    """Logging in replaces an id that was planted in the browser."""
    visit.add_cookie({"name": "id", "value": "A" * 22})
    visit.refresh()
    log_in(visit)
    assert cookie_of(visit) not in (None, "A" * 22)


def test_host_prefix(chromium, store):
    """The browser keeps a __Host- cookie, and log-out removes it; localhost counts as secure."""
    with serving(login.make_app(store, secure=True)) as address:
        chromium.get(f"http://localhost:{address.rpartition(':')[2]}/")
        chromium.delete_all_cookies()
        log_in(chromium)
        cookie = chromium.get_cookie("__Host-id")
        assert (cookie["httpOnly"], cookie["secure"], cookie["path"]) == (True, True, "/")
        log_out(chromium)
        assert chromium.get_cookies() == []


def test_partitioned_cookie(chromium, store):
    """The browser keeps, and flush() removes, a partitioned, encrypted cookie with same_site="none"."""
    routes = {"/": count, "/end": end}
    app = asgi(routes, store, same_site="none", partitioned=True, private_key=b"k" * 64)
    with serving(app) as address:
        page = f"http://localhost:{address.rpartition(':')[2]}"
        chromium.get(f"{page}/end")
        for number in range(3):
            chromium.get(page)
            assert f"Current count: {number}" in chromium.page_source
        assert [cookie["name"] for cookie in chromium.get_cookies()] == ["id"]
        chromium.get(f"{page}/end")
        assert chromium.get_cookies() == []


def end(session):
    session.flush()
    return "ended"


FETCHES_AROUND_A_LOGIN = """
const [rounds, done] = arguments;
const get = async (page) => (await fetch(page)).text();
const after = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const slowly = async (n) => { await after(2 * n); return get(n % 3 ? "/read" : "/save"); };
const round = async () => {
    await get("/logout");
    await get("/begin");
    await Promise.all([...[...Array(10).keys()].map(slowly), after(8).then(() => get("/login"))]);
    return JSON.parse(await get("/show")).user;
};
const all = async () => {
    const seen = [];
    for (let n = 0; n < rounds; n++) seen.push(await round());
    return seen;
};
all().then(done, (error) => done(String(error)));
"""


def test_stays_logged_in(chromium):
    """A page that sends ten requests around its login stays logged in, fifty times in a row."""
    with serving(make_app(MemoryStore())) as address:
        chromium.get(f"http://{address}/begin")
        chromium.delete_all_cookies()
        chromium.set_script_timeout(100)
        assert chromium.execute_async_script(FETCHES_AROUND_A_LOGIN, 50) == ["ada"] * 50


def keep_state(session):
    session["state"] = "xyz"
    return "go to the provider"


def state(session):
    return f"state: {session.get('state')}"


@pytest.mark.parametrize(
    ("same_site", "method", "seen"), [("lax", "get", "xyz"), ("strict", "get", "None"), ("lax", "post", "None")]
)
def test_coming_back_from_another_site(chromium, store, same_site, method, seen):
    """A login at another site finds the state that it left, with "lax" and a redirect; not with "strict" or a form."""
    with serving(asgi({"/begin": keep_state, "/back": state}, store, same_site=same_site)) as address:
        here = f"http://localhost:{address.rpartition(':')[2]}"
        page = f'<form method="{method}" action="{here}/back"><button id="allow">Allow</button></form>'

        async def provider(scope, receive, send):
            headers = [(b"content-type", b"text/html")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": page.encode()})

        with serving(provider) as elsewhere:
            chromium.get(f"{here}/begin")
            chromium.get(f"http://{elsewhere}/")
            chromium.find_element(By.ID, "allow").click()
            WebDriverWait(chromium, 10).until(text_to_be_present_in_element((By.TAG_NAME, "body"), f"state: {seen}"))
            chromium.delete_all_cookies()
