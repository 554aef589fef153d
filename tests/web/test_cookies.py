"""The cookie: its options, and cookies in requests."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from web.apps import asgi, browser, cookie_value, count, set_cookie

from sled_sessions import Expiry, Id, MemoryStore, SessionMiddleware
from sled_sessions.web.cookies import SessionCookie

ID = Id(bytes(range(16)))
TEXT = str(ID)
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("options", "attributes"),
    [
        ({}, "; HttpOnly; SameSite=Lax; Secure; Path=/"),
        ({"http_only": False}, "; SameSite=Lax; Secure; Path=/"),
        ({"same_site": "lax"}, "; HttpOnly; SameSite=Lax; Secure; Path=/"),
        ({"same_site": "none"}, "; HttpOnly; SameSite=None; Secure; Path=/"),
        ({"secure": False}, "; HttpOnly; SameSite=Lax; Path=/"),
        ({"path": "/app"}, "; HttpOnly; SameSite=Lax; Secure; Path=/app"),
        ({"domain": "example.org"}, "; HttpOnly; SameSite=Lax; Secure; Path=/; Domain=example.org"),
        ({"partitioned": True}, "; HttpOnly; SameSite=Lax; Partitioned; Secure; Path=/"),
    ],
)
def test_attributes(options, attributes):
    """Attributes are in the order of Rust's `cookie` crate, also on the removal."""
    cookie = SessionCookie(**options)
    assert cookie.write(ID, None).decode() == f"id={TEXT}{attributes}"
    assert cookie.write(ID, timedelta(hours=1)).decode() == f"id={TEXT}{attributes}; Max-Age=3600"
    assert cookie.removal.decode() == f"id={attributes}; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"


@pytest.mark.parametrize(("seconds", "age"), [(10, 10), (9.000001, 10), (0.5, 1), (0, 0)])
def test_max_age_is_rounded_up(seconds, age):
    """Max-Age is rounded up, so that a browser never drops the cookie of a live session."""
    assert SessionCookie().write(ID, timedelta(seconds=seconds)).decode().endswith(f"; Max-Age={age}")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"same_site": "none", "secure": False}, "same_site='none' without secure"),
        ({"partitioned": True, "secure": False}, "partitioned=True without secure"),
        ({"name": "__Secure-id", "secure": False}, "without secure"),
        ({"name": "__Host-id", "secure": False}, "without secure"),
        ({"name": "__host-id", "path": "/app"}, "with a path that is not '/'"),
        ({"name": "__Host-id", "domain": "example.org"}, "with a domain"),
        ({"name": ""}, "cookie name"),
        ({"name": "a;b"}, "cookie name"),
        ({"name": "naïve"}, "cookie name"),
        ({"path": "/; Domain=evil"}, "path must be"),
        ({"path": "app"}, "path must begin with '/'"),
        ({"domain": "a\r\nX: y"}, "domain must be"),
        ({"domain": "*.example.org"}, "domain must be"),
        ({"domain": "example.org:8000"}, "domain must be"),
        ({"domain": "https://example.org"}, "domain must be"),
        ({"domain": "example.org/app"}, "domain must be"),
        ({"same_site": "Strict"}, "same_site must be"),
        ({"touch_after": MINUTE}, "always_save=True"),
        ({"touch_after": timedelta(weeks=2), "always_save": True}, "touch_after must be shorter than 14 days"),
        ({"name": "__Http-id", "secure": False}, "without secure=True"),
        ({"name": "__Http-id", "http_only": False}, "without http_only=True"),
        ({"name": "__Host-Http-id", "http_only": False}, "without http_only=True"),
        (
            {"touch_after": MINUTE, "always_save": True, "expiry": Expiry.on_inactivity(MINUTE)},
            "touch_after must be shorter than 0:01:00",
        ),
    ],
)
def test_refused_options(options, message, store):
    """The middleware refuses options for a cookie that browsers reject, or for sessions that would expire in use."""
    with pytest.raises(ValueError, match=message):
        SessionMiddleware(None, store, **options)


def test_touch_after_with_a_deadline(store):
    """`Expiry.at` allows any touch_after: no write moves the expiry, so skipping one ends no session."""
    deadline = Expiry.at(datetime(2999, 1, 1, tzinfo=UTC))
    SessionMiddleware(None, store, expiry=deadline, always_save=True, touch_after=timedelta(weeks=3))


def test_store_of_the_wrong_type():
    """The error for an argument that is not a store names its type."""
    with pytest.raises(TypeError, match="not str"):
        SessionMiddleware(None, "storage")


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ([b"id=x"], b"x"),
        ([b"a=1; id=x; b=2"], b"x"),
        ([b"a=1;id=x;b=2"], b"x"),
        ([b"id = x "], b"x"),
        ([b"id=x; id=y"], b"y"),
        ([b"id=x", b"id=y"], b"y"),
        ([b"a=1", b"id=x", b"b=2"], b"x"),
        ([b'id="x"'], b'"x"'),
        ([b"id="], b""),
        ([b"id=a=b"], b"a=b"),
        ([b"caf\xe9=1; id=x"], b"x"),
        ([b"id=\xff"], b"\xff"),
        ([b"ID=x"], None),
        ([b"id"], None),
        ([b"=id"], None),
        ([b"=id=x"], None),
        ([b"xid=x; idx=y; a=id=z"], None),
        ([b""], None),
        ([], None),
    ],
)
def test_find(headers, found):
    """The last cookie with exactly this name counts, and its value is returned unchanged."""
    assert SessionCookie().find([(b"host", b"id=no"), *((b"cookie", each) for each in headers)]) == found


def test_name_with_regex_characters():
    """Characters that are special in regular expressions are literal in a cookie's name."""
    cookie = SessionCookie(name="a.b+")
    assert cookie.find([(b"cookie", b"a.b+=x; aXb+=y; a.bb=z")]) == b"x"


@pytest.mark.parametrize(
    "planted",
    ["id", "__host-id", "__HOST-id", "__Host-ID", "__Secure-id", "x__Host-id", "\u2000__Host-id", "\xa0__Host-id"],
)
def test_tossed_cookies(planted, store, clock):
    """Under a `__Host-` name no similar name counts: browsers let a sibling domain set those for the parent domain."""
    app = asgi({"/": count}, store, clock=clock, name="__Host-id")
    theirs, ours = (cookie_value(browser(app).get("/")) for _ in range(2))
    cookie = f"{planted}={theirs}"
    assert get(app, cookie.encode())["body"] == b"Current count: 0"
    assert get(app, f"{cookie}; __Host-id={ours}; {cookie}".encode())["body"] == b"Current count: 1"
    assert get(app, f"__Host-id={theirs}".encode())["body"] == b"Current count: 1"


def test_oversized_cookie(store, clock):
    """A cookie of a megabyte is treated as no session."""
    client = browser(asgi({"/": count}, store, clock=clock))
    assert client.get("/", headers={"cookie": "id=" + "A" * 1_000_000}).text == "Current count: 0"


@given(
    header=st.one_of(
        st.binary(),
        st.lists(
            st.builds(
                lambda name, between, value: name + between + value,
                st.sampled_from([b"id", b" id", b"ID", b"other", b""]),
                st.sampled_from([b"=", b" = ", b"", b"=="]),
                st.one_of(st.binary(max_size=30), st.from_regex(rb"\A[A-Za-z0-9_-]{21}[AQgw]\Z")),
            )
        ).map(b";".join),
    ),
    key=st.sampled_from([{}, {"signed_key": b"k" * 64}, {"private_key": b"k" * 64}]),
)
def test_any_bytes_as_cookie_header(header, key):
    """No Cookie header, whatever its bytes, raises or opens another visitor's session."""
    store = MemoryStore()
    app = asgi({"/": count}, store, **key)
    other = cookie_value(browser(app).get("/"))
    assert ("id=" + other).encode() not in header
    response = get(app, header)
    assert response["status"] == 200
    assert response["body"] == b"Current count: 0"


@given(data=st.data(), key=st.sampled_from([{}, {"signed_key": b"k" * 64}, {"private_key": b"k" * 64}]))
def test_nearly_correct_cookie(data, key):
    """Another visitor's cookie with one byte changed, added or missing, in its name or value, opens no session."""
    app = asgi({"/": count}, MemoryStore(), **key)
    good = ("id=" + cookie_value(browser(app).get("/"))).encode()
    place = data.draw(st.integers(0, len(good)))
    put = data.draw(st.binary(max_size=1))
    cookie = good[:place] + put + good[place + data.draw(st.integers(0, 1)) :]
    assume(SessionCookie().find([(b"cookie", cookie)]) != good[3:])  # e.g. only a blank was added
    assert get(app, cookie) == {"status": 200, "body": b"Current count: 0"}
    assert get(app, good)["body"] == b"Current count: 1"


def get(app, cookie: bytes) -> dict:
    """Make a request with these raw bytes, which an HTTP client would not send."""
    answer = {"status": 0, "body": b""}

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        answer.update({key: value for key, value in message.items() if key in ("status", "body")})

    exchange = app({"type": "http", "path": "/", "headers": [(b"cookie", cookie)]}, receive, send)
    with pytest.raises(StopIteration):
        exchange.send(None)  # it never suspends, so it needs no event loop
    return answer


def test_removal_has_the_same_attributes(store, clock):
    """A cookie with a prefix, a path and a domain is removed with the same attributes, which the client accepts."""

    def end(session):
        session.flush()
        return "ended"

    app = asgi({"/": count, "/end": end}, store, clock=clock, name="__Secure-id", domain="testserver.local")
    client = browser(app)
    client.base_url = "https://testserver.local"
    client.get("/")
    response = client.get("/end")
    assert "; Secure; Path=/; Domain=testserver.local; Max-Age=0" in set_cookie(response)
    assert not client.cookies
