"""Signed and encrypted cookies."""

import binascii
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from web.apps import asgi, browser, cookie_value, count, has_cookie

from sled_sessions import Id, SessionMiddleware
from sled_sessions.web.sealing import Private, Signed

OLD, NEW, FOREIGN = (bytes([n]) * 64 for n in (1, 2, 3))


def seals(key):
    return [Signed(key), Private(key, "id")]


@given(text=st.text(st.characters(codec="ascii")))
def test_round_trip(text):
    """Opening a sealed value returns the text."""
    for seal in seals(NEW):
        assert seal.open(seal.seal(text)) == text


@given(value=st.text())
def test_unsealed_text(value):
    """Text that was not sealed with the key opens to None, without an error."""
    for seal in seals(NEW):
        assert seal.open(value) is None


@given(st.data())
def test_changed_character(data):
    """A sealed value with one character changed does not open."""
    for seal in seals(NEW):
        value = seal.seal("mlgwO8-5u_-Fz9g15_X-mQ")
        place = data.draw(st.integers(0, len(value) - 1))
        other = data.draw(st.characters(codec="ascii").filter(lambda c: c != value[place]))  # noqa: B023
        assert seal.open(value[:place] + other + value[place + 1 :]) is None


def test_foreign_keys():
    """A value sealed with another key does not open."""
    for ours, foreign in zip(seals(NEW), seals(FOREIGN), strict=True):
        assert ours.open(foreign.seal("text")) is None


def test_encryption_is_bound_to_the_cookies_name():
    """An encrypted value does not open in a cookie with another name."""
    assert Private(NEW, "id").open(Private(NEW, "other").seal("text")) is None


def test_encrypted_value_has_one_spelling():
    """A value that differs only in unused base64 bits does not open, as in Rust."""
    private = Private(NEW, "id")
    value = private.seal("mlgwO8-5u_-Fz9g15_X-mQ")
    other = f"{value[:-2]}{chr(ord(value[-2]) + 1)}="
    assert binascii.a2b_base64(other) == binascii.a2b_base64(value)
    assert private.open(other) is None


def test_the_halves_of_a_key():
    """The first 32 bytes sign, the next 32 encrypt and the rest is ignored, as by Rust's `Key`."""
    first, second, other = b"s" * 32, b"e" * 32, b"x" * 33
    assert Signed(first + other).open(Signed(first + second).seal("text")) == "text"
    assert Private(other[:32] + second + other, "id").open(Private(first + second, "id").seal("text")) == "text"


def test_middleware_encrypts_for_its_cookies_name(store):
    """The middleware's cookie values are encrypted for its cookie's name."""
    cookie = SessionMiddleware(None, store, name="sid", private_key=NEW).cookie
    assert cookie.read(Private(NEW, "sid").seal(str(id := Id.new())).encode()) == id


def test_encrypting_twice():
    """Each encryption uses a new nonce."""
    assert Private(NEW, "id").seal("text") != Private(NEW, "id").seal("text")


@pytest.mark.parametrize("option", ["signed_key", "private_key"])
def test_key_rotation(option, store, clock):
    """With several keys old cookies still open, and new ones are sealed with the first key."""
    routes = {"/": count}
    before = browser(asgi(routes, store, clock=clock, **{option: OLD}))
    during = browser(asgi(routes, store, clock=clock, **{option: [NEW, OLD]}))
    after = browser(asgi(routes, store, clock=clock, **{option: [NEW]}))
    old = cookie_value(before.get("/"))
    response = during.get("/", headers={"cookie": f"id={old}"})
    assert response.text == "Current count: 1"
    assert after.get("/", headers={"cookie": f"id={cookie_value(response)}"}).text == "Current count: 2"
    assert after.get("/", headers={"cookie": f"id={old}"}).text == "Current count: 0"


@pytest.mark.parametrize("option", ["signed_key", "private_key"])
def test_plain_id_with_a_key(option, store, clock):
    """With a key, the plain id of a live session opens no session."""
    routes = {"/": count}
    plain = cookie_value(browser(asgi(routes, store, clock=clock)).get("/"))
    sealed = browser(asgi(routes, store, clock=clock, **{option: NEW}))
    assert sealed.get("/", headers={"cookie": f"id={plain}"}).text == "Current count: 0"


@pytest.mark.parametrize("option", ["signed_key", "private_key"])
def test_log_out_removes_only_our_cookie(option, store, clock):
    """Log-out removes a cookie sealed with our key, and leaves one that another server has sealed."""

    def end(session):
        session.flush()
        return "ended"

    app = asgi({"/": count, "/end": end}, store, clock=clock, **{option: NEW})
    ours = cookie_value(browser(app).get("/"))
    foreign = cookie_value(browser(asgi({"/": count}, store, clock=clock, **{option: FOREIGN})).get("/"))
    assert cookie_value(browser(app).get("/end", headers={"cookie": f"id={ours}"})) == ""
    assert not has_cookie(browser(app).get("/end", headers={"cookie": f"id={foreign}"}))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"signed_key": b"x" * 63}, ValueError, "at least 64 bytes"),
        ({"private_key": b"x" * 32}, ValueError, "at least 64 bytes"),
        ({"signed_key": "x" * 64}, TypeError, "bytes or a list of bytes"),
        ({"signed_key": []}, ValueError, "at least one key"),
        ({"signed_key": NEW, "private_key": NEW}, ValueError, "not both"),
    ],
)
def test_invalid_keys(options, error, message, store):
    """The middleware refuses an invalid key with an error that does not show it."""
    with pytest.raises(error, match=message) as caught:
        SessionMiddleware(None, store, **options)
    assert "xxxx" not in str(caught.value)


def test_without_cryptography(monkeypatch, store):
    """The error for private_key without the package says what to install."""
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
    with pytest.raises(ImportError, match=r"sled_sessions\[private\]"):
        SessionMiddleware(None, store, private_key=NEW)


def test_keys_are_not_shown(store):
    """The reprs of the middleware's cookie and its seal show no key."""
    cookie = SessionMiddleware(None, store, signed_key=b"secret" * 11).cookie
    assert "secret" not in repr(cookie) + repr(cookie.seal)
