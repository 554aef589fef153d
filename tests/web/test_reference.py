"""Our counter app against the Rust crate's responses in `data/http.jsonl`, made with a key of 64 bytes of 7."""

import os
from base64 import b64decode
from datetime import timedelta

import pytest
from reference import read_jsonl
from web.apps import asgi, browser, cookie_value, count, set_cookie

from sled_sessions import Expiry, Id, Record
from sled_sessions.web.sealing import Private, Signed

KEY = bytes([7]) * 64
OPTIONS = {"plain": {}, "signed": {"signed_key": KEY}, "private": {"private_key": KEY}}
ROWS = read_jsonl("http.jsonl")


def value_of(set_cookie_header: str) -> str:
    return set_cookie_header.removeprefix("id=").partition(";")[0]


def id_of(mode: str, value: str) -> Id:
    """The id in one of Rust's cookies."""
    seal = {"plain": None, "signed": Signed(KEY), "private": Private(KEY, "id")}[mode]
    return Id.parse(value if seal is None else seal.open(value))


@pytest.mark.parametrize("mode", OPTIONS)
def test_same_responses(mode, any_store, clock):
    """The same requests, with our cookies instead of Rust's, get the same responses but for the id."""
    ours = {}  # Rust's cookie values to ours
    app = asgi(
        {"/": count},
        any_store,
        secure=False,
        same_site="strict",
        expiry=Expiry.on_inactivity(timedelta(seconds=10)),
        clock=clock,
        **OPTIONS[mode],
    )
    for row in (row for row in ROWS if row["mode"] == mode):
        cookie = row["request_cookie"]
        for rust, own in ours.items():
            cookie = cookie and cookie.replace(rust, own)
        response = browser(app).get("/", headers={} if cookie is None else {"cookie": cookie})
        assert (response.status_code, response.text) == (row["status"], row["body"])
        (expected,) = row["set_cookie"]
        assert set_cookie(response).partition(";")[2] == expected.partition(";")[2]
        assert len(cookie_value(response)) == len(value_of(expected))
        ours[value_of(expected)] = cookie_value(response)


@pytest.mark.parametrize(
    "row",
    [row for row in ROWS if row["body"] != "Current count: 0"],
    ids=lambda row: f"{row['mode']}-{row['body'][-1]}",
)
def test_rust_cookies_are_accepted(row, store, clock):
    """A cookie set by the Rust server, signed and encrypted ones included, opens its session."""
    (rust,) = row["set_cookie"]
    session = Record(id_of(row["mode"], value_of(rust)), {"counter": 7}, clock() + timedelta(hours=1))
    store.save(session)
    app = asgi({"/": count}, store, clock=clock, **OPTIONS[row["mode"]])
    response = browser(app).get("/", headers={"cookie": row["request_cookie"]})
    assert response.text == "Current count: 7"
    assert id_of(row["mode"], cookie_value(response)) == session.id


def test_encrypted_values_are_the_same_bytes(monkeypatch):
    """With Rust's nonces we encrypt to the same bytes, so a Rust server accepts our cookies."""
    private = Private(KEY, "id")
    for row in ROWS:
        if row["mode"] == "private":
            value = value_of(row["set_cookie"][0])
            monkeypatch.setattr(os, "urandom", lambda n, value=value: b64decode(value)[:n])
            assert private.seal(private.open(value)) == value


def test_signatures_are_the_same_bytes():
    """Our signatures are Rust's, byte for byte."""
    signed = Signed(KEY)
    for row in ROWS:
        if row["mode"] == "signed":
            value = value_of(row["set_cookie"][0])
            assert signed.seal(signed.open(value)) == value
