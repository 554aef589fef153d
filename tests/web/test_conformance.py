"""What an application can rely on, with every store and every framework."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from web.apps import cookie_value, count, has_cookie, set_cookie

from sled_sessions import Expiry

IDLE = Expiry.on_inactivity(timedelta(hours=1))

UNUSED = (200, "hello")


def show(session):
    return repr(dict(session))


def clear(session):
    session.clear()
    return "cleared"


def flush(session):
    session.flush()
    return "flushed"


def cycle(session):
    session.cycle_id()
    return "cycled"


def failing(session):
    session["counter"] = 1000
    return 503, "failed"


def test_data_survives_between_requests(serve):
    """A request reads what the one before it set."""
    browser = serve(count=count)
    assert [browser.get("/count").text for _ in range(4)] == [f"Current count: {n}" for n in range(4)]


def test_visitors_have_separate_sessions(serve):
    """A browser without the cookie gets another session."""
    browser = serve(count=count)
    browser.get("/count")
    browser.cookies.clear()
    assert browser.get("/count").text == "Current count: 0"


def test_unused_session(serve):
    """A request that does not use its session gets no cookie and no Vary header."""
    response = serve(index=UNUSED).get("/index")
    assert response.text == "hello"
    assert not has_cookie(response)
    assert "vary" not in response.headers


def test_reading_creates_nothing(serve):
    """A session that is only read is not stored and gets no cookie, but the response varies by cookie."""
    response = serve(show=show).get("/show")
    assert not has_cookie(response)
    assert response.headers["vary"] == "Cookie"


def test_default_cookie(serve):
    """The cookie has tower-sessions' defaults, and no Max-Age if the session ends with the browser."""
    cookie = set_cookie(serve(count=count).get("/count"))
    assert cookie.partition(";")[2] == " HttpOnly; SameSite=Lax; Secure; Path=/"
    assert len(cookie.partition(";")[0]) == len("id=") + 22


def test_outside_the_path(serve, caplog):
    """A request outside the cookie's path begins no session, since no browser would come back with it."""
    browser = serve(count=count, **{"app/count": count}, path="/app")
    for _ in range(2):
        response = browser.get("/count")
        assert (response.text, has_cookie(response)) == ("Current count: 0", False)
    assert caplog.text.count("--root-path") == 1
    assert [browser.get("/app/count").text for _ in range(2)] == ["Current count: 0", "Current count: 1"]


def test_public_response(serve):
    """A response for shared caches begins no session and sets no cookie, but for a changed id: then it is private."""
    public = {"cache-control": "public, max-age=60"}

    def cached(session):
        return 200, count(session), public

    def login(session):
        session.cycle_id()
        return 200, "in", public

    browser = serve(cached=cached, count=count, login=login)
    assert [has_cookie(browser.get("/cached")) for _ in range(2)] == [False, False]
    assert browser.get("/count").text == "Current count: 0"
    response = browser.get("/cached")
    assert (response.text, has_cookie(response)) == ("Current count: 1", False)
    response = browser.get("/login")
    assert (response.headers["cache-control"], has_cookie(response)) == ("private, max-age=60", True)
    assert browser.get("/count").text == "Current count: 2"


def test_max_age(serve):
    """Max-Age is the idle limit."""
    browser = serve(count=count, expiry=IDLE)
    assert set_cookie(browser.get("/count")).endswith("; Max-Age=3600")


def test_max_age_with_a_deadline(serve, clock):
    """With a fixed deadline Max-Age is the time left until then."""
    browser = serve(count=count, expiry=Expiry.at(clock() + timedelta(days=1)))
    clock.move(timedelta(hours=1))
    assert set_cookie(browser.get("/count")).endswith(f"; Max-Age={23 * 3600}")


def test_own_lifetime_lasts(serve, clock):
    """A policy that a session sets goes for later requests too, and under a new id, until it sets None."""

    def stay(session):
        session.expiry = Expiry.on_inactivity(timedelta(days=30))
        return "stays"

    def leave(session):
        session.expiry = None
        return "leaves"

    limited = Expiry.on_inactivity(timedelta(hours=1), at_most=timedelta(hours=8))
    browser = serve(count=count, show=show, stay=stay, leave=leave, cycle=cycle, expiry=limited)
    browser.get("/count")
    for path in ("/stay", "/count", "/cycle", "/count"):
        assert set_cookie(browser.get(path)).endswith(f"; Max-Age={30 * 86400}")
        clock.move(timedelta(days=20) if path != "/stay" else timedelta(minutes=1))
    assert browser.get("/show").text == "{'counter': 3}"
    assert set_cookie(browser.get("/leave")).endswith("; Max-Age=3600")
    clock.move(timedelta(hours=1))
    assert browser.get("/show").text == "{}"


@pytest.mark.parametrize("start", [datetime(2030, 3, 31, 0, 30, tzinfo=UTC), datetime(2030, 10, 27, 0, 30, tzinfo=UTC)])
def test_daylight_saving_time(serve, clock, start):
    """With a clock in a local zone, an hour is an hour over both changes of daylight saving time."""
    clock.now = start
    browser = serve(count=count, show=show, expiry=IDLE, zone=ZoneInfo("Europe/Berlin"))
    assert set_cookie(browser.get("/count")).endswith("; Max-Age=3600")
    clock.move(timedelta(minutes=59))
    assert browser.get("/show").text == "{'counter': 1}"
    clock.move(timedelta(minutes=1))
    assert browser.get("/show").text == "{}"


def test_idle_sessions_expire(serve, clock):
    """The session is gone after the idle time, which restarts with each save."""
    browser = serve(count=count, expiry=IDLE)
    for n in range(3):
        assert browser.get("/count").text == f"Current count: {n}"
        clock.move(timedelta(minutes=59))
    clock.move(timedelta(minutes=1))
    assert browser.get("/count").text == "Current count: 0"


def test_absolute_limit(serve, clock):
    """The absolute limit ends a session however active it is, and its stored form is hidden from the app."""
    expiry = Expiry.on_inactivity(timedelta(hours=1), at_most=timedelta(hours=2))
    browser = serve(count=count, show=show, cycle=cycle, expiry=expiry)
    browser.get("/count")
    clock.move(timedelta(minutes=50))
    assert set_cookie(browser.get("/count")).endswith("; Max-Age=3600")
    clock.move(timedelta(minutes=50))
    assert set_cookie(browser.get("/count")).endswith("; Max-Age=1200")
    assert browser.get("/show").text == "{'counter': 3}"
    assert set_cookie(browser.get("/cycle")).endswith("; Max-Age=1200")  # a new id does not extend it
    clock.move(timedelta(minutes=20))
    assert browser.get("/show").text == "{}"


def test_unknown_id_is_not_adopted(serve):
    """A request with an unknown id gets a session under a new id."""
    browser = serve(count=count)
    response = browser.get("/count", headers={"cookie": "id=AAAAAAAAAAAAAAAAAAAAAA"})
    assert response.text == "Current count: 0"
    assert cookie_value(response) != "AAAAAAAAAAAAAAAAAAAAAA"


def test_useless_cookie_is_removed(serve):
    """A cookie is removed if the request reads its session and there is none; a malformed one, on any request."""
    browser = serve(show=show, index=UNUSED)
    for path, value in (("/show", "A" * 22), ("/show", "malformed"), ("/index", "malformed")):
        response = browser.get(path, headers={"cookie": f"id={value}"})
        assert response.status_code == 200
        assert cookie_value(response) == ""
        assert "; Max-Age=0; Expires=Thu, 01 Jan 1970" in set_cookie(response)


def test_flush(serve):
    """Log-out ends the session and removes its cookie, and the old cookie is useless."""
    browser = serve(count=count, flush=flush)
    old = cookie_value(browser.get("/count"))
    response = browser.get("/flush")
    assert cookie_value(response) == ""
    assert "id" not in browser.cookies
    assert browser.get("/count", headers={"cookie": f"id={old}"}).text == "Current count: 0"


def test_begin_after_flush(serve):
    """Data set after a flush begins a new session under a new id."""

    def replace(session):
        session.flush()
        session["counter"] = 40
        return "replaced"

    browser = serve(count=count, replace=replace)
    old = cookie_value(browser.get("/count"))
    assert cookie_value(browser.get("/replace")) not in ("", old)
    assert browser.get("/count").text == "Current count: 40"
    assert browser.get("/count", headers={"cookie": f"id={old}"}).text == "Current count: 0"


def test_clear(serve):
    """A session without keys is deleted, and its cookie is removed."""
    browser = serve(count=count, clear=clear)
    old = cookie_value(browser.get("/count"))
    assert cookie_value(browser.get("/clear")) == ""
    assert browser.get("/count", headers={"cookie": f"id={old}"}).text == "Current count: 0"


def test_cycle_id(serve):
    """At login the session keeps its data under a new id, and the old id is useless."""
    browser = serve(count=count, cycle=cycle)
    old = cookie_value(browser.get("/count"))
    new = cookie_value(browser.get("/cycle"))
    assert new != old
    assert browser.get("/count").text == "Current count: 1"
    assert browser.get("/count", headers={"cookie": f"id={old}"}).text == "Current count: 0"


def log_in(session):
    session.cycle_id()
    session["user"] = "ada"
    return "welcome"


def test_late_request_does_not_undo_a_login(serve):
    """A request with the id that a login has just changed reads and writes nothing, and leaves the cookie alone."""
    browser = serve(count=count, login=log_in, show=show, cycle=cycle)
    old = {"cookie": f"id={cookie_value(browser.get('/count'))}"}
    browser.get("/login")
    for path, text in (("/count", "Current count: 0"), ("/show", "{}"), ("/cycle", "cycled")):
        response = browser.get(path, headers=old)
        assert response.text == text
        assert not has_cookie(response)
    assert browser.get("/show").text == "{'counter': 1, 'user': 'ada'}"


def test_login_sent_twice(serve):
    """A login with the id that another one has just changed begins a session of what it sets; a log-out still works."""
    browser = serve(count=count, login=log_in, show=show, flush=flush)
    begun = cookie_value(browser.get("/count"))
    old = {"cookie": f"id={begun}"}
    first = cookie_value(browser.get("/login"))
    second = cookie_value(browser.get("/login", headers=old))
    assert len({begun, first, second}) == 3
    assert browser.get("/show").text == "{'user': 'ada'}"
    assert browser.get("/show", headers={"cookie": f"id={first}"}).text == "{'counter': 1, 'user': 'ada'}"
    assert cookie_value(browser.get("/flush", headers=old)) == ""


def test_old_id_after_the_grace(serve, clock):
    """After a minute the id that a login has changed is an unknown id."""
    browser = serve(count=count, login=log_in, show=show)
    old = {"cookie": f"id={cookie_value(browser.get('/count'))}"}
    browser.get("/login")
    clock.move(timedelta(seconds=60))
    assert cookie_value(browser.get("/show", headers=old)) == ""


def test_cycle_id_of_a_new_session(serve):
    """cycle_id() works on a new session."""

    def login(session):
        session.cycle_id()
        session["user"] = "ada"
        return "welcome"

    browser = serve(login=login, show=show)
    browser.get("/login")
    assert browser.get("/show").text == "{'user': 'ada'}"


def test_nested_change_is_saved(serve):
    """Appending to a list inside the session is saved without marking the session as modified."""

    def add(session):
        session.setdefault("cart", []).append("book")
        return str(len(session["cart"]))

    browser = serve(add=add)
    assert [browser.get("/add").text for _ in range(3)] == ["1", "2", "3"]


def test_equal_value_changes_nothing(serve):
    """Setting an equal value saves nothing and sends no cookie."""

    def same(session):
        session["user"] = {"name": "ada", "roles": ["admin"]}
        return "same"

    browser = serve(same=same)
    assert has_cookie(browser.get("/same"))
    assert not has_cookie(browser.get("/same"))


def test_equal_value_of_another_type_is_saved(serve):
    """True, 1 and 1.0 are equal in Python but differ in JSON, so each replaces the other."""
    values = iter([1, True, 1.0])

    def put(session):
        session["value"] = next(values)
        return "put"

    browser = serve(put=put, show=show)
    for expected in ("1", "True", "1.0"):
        assert has_cookie(browser.get("/put"))
        assert browser.get("/show").text == f"{{'value': {expected}}}"


def test_server_error_saves_nothing(serve):
    """A 5xx response leaves the session unchanged."""
    browser = serve(count=count, failing=failing)
    browser.get("/count")
    response = browser.get("/failing")
    assert response.status_code == 503
    assert not has_cookie(response)
    assert browser.get("/count").text == "Current count: 1"


def test_server_error_after_flush(serve):
    """A log-out takes effect even if its response is a 5xx."""

    def flush_and_fail(session):
        session.flush()
        return 500, "failed"

    browser = serve(count=count, flush_and_fail=flush_and_fail)
    old = cookie_value(browser.get("/count"))
    assert cookie_value(browser.get("/flush_and_fail")) == ""
    assert browser.get("/count", headers={"cookie": f"id={old}"}).text == "Current count: 0"


def test_exception_saves_nothing(serve):
    """A request that raises leaves the session unchanged."""

    def raising(session):
        session["counter"] = 1000
        raise ZeroDivisionError

    browser = serve(count=count, raising=raising)
    browser.get("/count")
    assert browser.get("/raising").status_code == 500
    assert browser.get("/count").text == "Current count: 1"


def test_always_save(serve, clock):
    """With always_save each request with a session extends it and sends the cookie; other requests create none."""
    browser = serve(count=count, index=UNUSED, expiry=IDLE, always_save=True)
    assert not has_cookie(browser.get("/index"))
    browser.get("/count")
    for _ in range(3):
        clock.move(timedelta(minutes=59))
        assert has_cookie(browser.get("/index"))
    assert browser.get("/count").text == "Current count: 1"


def test_touch_after(serve, clock):
    """With touch_after the write is skipped until the expiry would move by that much."""
    browser = serve(count=count, index=UNUSED, expiry=IDLE, always_save=True, touch_after=timedelta(minutes=10))
    browser.get("/count")
    clock.move(timedelta(minutes=9))
    assert not has_cookie(browser.get("/index"))
    clock.move(timedelta(minutes=1))
    assert has_cookie(browser.get("/index"))
    assert has_cookie(browser.get("/count"))  # a change is always written


def test_value_that_is_not_json(serve):
    """Setting a value that is not JSON raises, and the session is unchanged."""

    def put(session):
        session["counter"] = object()
        return "never"

    def put_inside(session):
        session.setdefault("cart", []).append({1, 2})
        return "never sent"

    browser = serve(count=count, put=put, put_inside=put_inside)
    browser.get("/count")
    assert browser.get("/put").status_code == 500
    assert browser.get("/put_inside").status_code == 500
    assert browser.get("/count").text == "Current count: 1"
