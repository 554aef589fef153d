"""What an application may rely on, with every store and through every framework."""

from datetime import timedelta

from web.apps import cookie_value, count, has_cookie, set_cookie

from sled_sessions import Expiry

IDLE = Expiry.on_inactivity(timedelta(hours=1))


LEFT_ALONE = (200, "hello")


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
    """What one request sets, the next one reads."""
    browser = serve(count=count)
    assert [browser.get("/count").text for _ in range(4)] == [f"Current count: {n}" for n in range(4)]


def test_visitors_do_not_meet(serve):
    """Two browsers have two sessions."""
    browser = serve(count=count)
    browser.get("/count")
    browser.cookies.clear()
    assert browser.get("/count").text == "Current count: 0"


def test_untouched(serve):
    """A request that does not use its session gets no cookie and no Vary header."""
    response = serve(index=LEFT_ALONE).get("/index")
    assert response.text == "hello"
    assert not has_cookie(response)
    assert "vary" not in response.headers


def test_reading_creates_nothing(serve):
    """A session that was only read is not stored and gets no cookie, but the response depends on the cookie."""
    response = serve(show=show).get("/show")
    assert not has_cookie(response)
    assert response.headers["vary"] == "Cookie"


def test_cookie_with_defaults(serve):
    """The cookie has tower-sessions' defaults, and a session-end session has no Max-Age."""
    cookie = set_cookie(serve(count=count).get("/count"))
    assert cookie.partition(";")[2] == " HttpOnly; SameSite=Strict; Secure; Path=/"
    assert len(cookie.partition(";")[0]) == len("id=") + 22


def test_max_age(serve):
    """Max-Age is what remains of the session, for an idle limit and for a fixed end."""
    browser = serve(count=count, expiry=IDLE)
    assert set_cookie(browser.get("/count")).endswith("; Max-Age=3600")


def test_max_age_of_a_fixed_end(serve, clock):
    """Max-Age is what remains until the moment that the policy names."""
    browser = serve(count=count, expiry=Expiry.at(clock() + timedelta(days=1)))
    clock.advance(hours=1)
    assert set_cookie(browser.get("/count")).endswith(f"; Max-Age={23 * 3600}")


def test_set_expiry(serve):
    """A session that sets its own policy is saved with it."""

    def stay(session):
        session.expiry = Expiry.on_inactivity(timedelta(days=30))
        return "stays"

    browser = serve(count=count, stay=stay, expiry=IDLE)
    browser.get("/count")
    assert set_cookie(browser.get("/stay")).endswith(f"; Max-Age={30 * 86400}")


def test_idle_sessions_expire(serve, clock):
    """After the idle time the session is gone; each save begins it anew."""
    browser = serve(count=count, expiry=IDLE)
    for n in range(3):
        assert browser.get("/count").text == f"Current count: {n}"
        clock.advance(minutes=59)
    clock.advance(minutes=1)
    assert browser.get("/count").text == "Current count: 0"


def test_at_most(serve, clock):
    """However active a session is, its absolute limit ends it, and the app does not see how it is kept."""
    expiry = Expiry.on_inactivity(timedelta(hours=1), at_most=timedelta(hours=2))
    browser = serve(count=count, show=show, cycle=cycle, expiry=expiry)
    browser.get("/count")
    clock.advance(minutes=50)
    assert set_cookie(browser.get("/count")).endswith("; Max-Age=3600")
    clock.advance(minutes=50)
    assert set_cookie(browser.get("/count")).endswith("; Max-Age=1200")
    assert browser.get("/show").text == "{'counter': 3}"
    assert set_cookie(browser.get("/cycle")).endswith("; Max-Age=1200")  # a new id does not buy time
    clock.advance(minutes=20)
    assert browser.get("/show").text == "{}"


def test_unknown_id_is_not_adopted(serve):
    """An id that the store does not know gets a session under another id."""
    browser = serve(count=count)
    response = browser.get("/count", headers={"cookie": "id=AAAAAAAAAAAAAAAAAAAAAA"})
    assert response.text == "Current count: 0"
    assert cookie_value(response) != "AAAAAAAAAAAAAAAAAAAAAA"


def test_a_cookie_that_stands_for_nothing_is_removed(serve):
    """A request that reads its session and finds none loses the cookie; so does any request with a malformed one."""
    browser = serve(show=show, index=LEFT_ALONE)
    for path, value in (("/show", "A" * 22), ("/show", "malformed"), ("/index", "malformed")):
        response = browser.get(path, headers={"cookie": f"id={value}"})
        assert response.status_code == 200
        assert cookie_value(response) == ""
        assert "; Max-Age=0; Expires=Thu, 01 Jan 1970" in set_cookie(response)


def test_flush(serve):
    """Log-out: the session is gone, its cookie removed, and the old cookie is worth nothing."""
    browser = serve(count=count, flush=flush)
    old = cookie_value(browser.get("/count"))
    response = browser.get("/flush")
    assert cookie_value(response) == ""
    assert "id" not in browser.cookies
    assert browser.get("/count", headers={"cookie": f"id={old}"}).text == "Current count: 0"


def test_flush_and_begin_again(serve):
    """What is set after a flush begins another session under another id."""

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
    """A session that has lost its last key is not kept, and its cookie is removed."""
    browser = serve(count=count, clear=clear)
    old = cookie_value(browser.get("/count"))
    assert cookie_value(browser.get("/clear")) == ""
    assert browser.get("/count", headers={"cookie": f"id={old}"}).text == "Current count: 0"


def test_cycle_id(serve):
    """Login: another id, the same data, and the old id is worth nothing."""
    browser = serve(count=count, cycle=cycle)
    old = cookie_value(browser.get("/count"))
    new = cookie_value(browser.get("/cycle"))
    assert new != old
    assert browser.get("/count").text == "Current count: 1"
    assert browser.get("/count", headers={"cookie": f"id={old}"}).text == "Current count: 0"


def test_cycling_a_new_session(serve):
    """A session that is new anyway may be cycled."""

    def login(session):
        session.cycle_id()
        session["user"] = "ada"
        return "welcome"

    browser = serve(login=login, show=show)
    browser.get("/login")
    assert browser.get("/show").text == "{'user': 'ada'}"


def test_nested_changes_are_noticed(serve):
    """A list inside the session is saved when it was appended to, and the code does not have to say so."""

    def add(session):
        session.setdefault("cart", []).append("book")
        return str(len(session["cart"]))

    browser = serve(add=add)
    assert [browser.get("/add").text for _ in range(3)] == ["1", "2", "3"]


def test_an_equal_value_is_no_change(serve):
    """Setting what is there already saves nothing and sends no cookie."""

    def same(session):
        session["user"] = {"name": "ada", "roles": ["admin"]}
        return "same"

    browser = serve(same=same)
    assert has_cookie(browser.get("/same"))
    assert not has_cookie(browser.get("/same"))


def test_an_equal_value_of_another_type_is_a_change(serve):
    """True, 1 and 1.0 are equal in Python and three things in JSON."""
    values = iter([1, True, 1.0])

    def put(session):
        session["value"] = next(values)
        return "put"

    browser = serve(put=put, show=show)
    for expected in ("1", "True", "1.0"):
        assert has_cookie(browser.get("/put"))
        assert browser.get("/show").text == f"{{'value': {expected}}}"


def test_server_errors_save_nothing(serve):
    """A 5xx response leaves the session as it was."""
    browser = serve(count=count, failing=failing)
    browser.get("/count")
    response = browser.get("/failing")
    assert response.status_code == 503
    assert not has_cookie(response)
    assert browser.get("/count").text == "Current count: 1"


def test_server_errors_do_not_undo_a_flush(serve):
    """A log-out that ends in a 5xx has logged out all the same."""

    def flush_and_fail(session):
        session.flush()
        return 500, "failed"

    browser = serve(count=count, flush_and_fail=flush_and_fail)
    old = cookie_value(browser.get("/count"))
    assert cookie_value(browser.get("/flush_and_fail")) == ""
    assert browser.get("/count", headers={"cookie": f"id={old}"}).text == "Current count: 0"


def test_exceptions_save_nothing(serve):
    """A request that raises leaves the session as it was."""

    def raising(session):
        session["counter"] = 1000
        raise ZeroDivisionError

    browser = serve(count=count, raising=raising)
    browser.get("/count")
    assert browser.get("/raising").status_code == 500
    assert browser.get("/count").text == "Current count: 1"


def test_always_save(serve, clock):
    """With always_save each request with a session moves its expiry and sends the cookie; others create nothing."""
    browser = serve(count=count, index=LEFT_ALONE, expiry=IDLE, always_save=True)
    assert not has_cookie(browser.get("/index"))
    browser.get("/count")
    for _ in range(3):
        clock.advance(minutes=59)
        assert has_cookie(browser.get("/index"))
    assert browser.get("/count").text == "Current count: 1"


def test_touch_after(serve, clock):
    """With touch_after the write is spared until the expiry would move by that much."""
    browser = serve(count=count, index=LEFT_ALONE, expiry=IDLE, always_save=True, touch_after=timedelta(minutes=10))
    browser.get("/count")
    clock.advance(minutes=9)
    assert not has_cookie(browser.get("/index"))
    clock.advance(minutes=1)
    assert has_cookie(browser.get("/index"))
    assert has_cookie(browser.get("/count"))  # a change is always written


def test_what_json_cannot_hold(serve):
    """A value that JSON cannot hold is refused where it is set, and the session stays as it was."""

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
