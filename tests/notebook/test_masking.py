"""Which values are secret, and how they and characters that hide text are shown."""

import json
from datetime import UTC, datetime

import pytest

from sled_sessions import Id, Record
from sled_sessions.display.masking import MASK, is_secret, masked, printable, printable_json
from sled_sessions.display.table import Table


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "csrf_token",
        "csrf",
        "api_key",
        "apiKey",
        "SECRET",
        "user.auth",
        "sid",
        "otp",
        "session_cookie",
        "sessionid",
        "userSessionId",
        "session_id",
        "PHPSESSID",
        "JSESSIONID",
        "code_verifier",
        "oauth_state",
        "email-otp",
        "totp",
        "otpCode",
        "bearer",
        "recovery_codes",
        "backupCode",
    ],
)
def test_secret_keys(key):
    """These keys name secrets."""
    assert is_secret(key)


@pytest.mark.parametrize(
    "key",
    [
        "user",
        "author",
        "monkey",
        "cart",
        "counter",
        "locale",
        "keyboard",
        "opting",
        "state",
        "verified",
        "discovery",
        "recovery_email",
        "postcode",
        "footprint",
        "possession_id",
        "assess_id",
        "sessions",
    ],
)
def test_plain_keys(key):
    """Words that merely contain such a name do not."""
    assert not is_secret(key)


def test_masked_at_any_depth():
    """Secrets are masked at any depth; bools and None stay visible, and the data itself is unchanged."""
    data = {"a": [{"token": "x", "b": 1}], "password": {"old": "y"}, "has_token": True, "secret": None}
    assert masked(data) == {"a": [{"token": MASK, "b": 1}], "password": MASK, "has_token": True, "secret": None}
    assert data["password"] == {"old": "y"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("plain ä 😀 •", "plain ä 😀 •"),
        ("\x1b[31m\n", r"\x1b[31m\x0a"),
        ("\x00\x7f\x9b\xa0\u3000", "\\x00\\x7f\\x9b\xa0\u3000"),
        ("user\u202enimda\u2066\u2069\u200b\u2028\u2029", r"user\u202enimda\u2066\u2069\u200b\u2028\u2029"),
        ("\xad\ufeff\ue000\ud800\uffff\U000e0041", r"\xad\ufeff\ue000\ud800\uffff\U000e0041"),
    ],
)
def test_printable(text, shown):
    """Characters that a terminal obeys or does not show become Python's escapes; nothing else changes."""
    assert printable(text) == shown


def test_printable_json():
    """In JSON they become JSON's escapes, so that a program reads the original text."""
    text = "a\x7f\u202e\u200b\u2028\U000e0041é \u3000😀"
    shown = printable_json(json.dumps(text, ensure_ascii=False).encode())
    assert json.loads(shown) == text
    assert shown.decode() == r'"a\u007f\u202e\u200b\u2028\udb40\udc41é ' + '\u3000😀"'


def test_hidden_text_in_notebooks():
    """Tables and cards, as text and as HTML, show what would hide or reorder text, and leave other names in words."""
    hidden = "user\u202enimda\u2066\u200b\u2028 :warning: [red]"
    record = Record(Id.new(), {hidden: hidden, "nested": [hidden]}, datetime(2099, 1, 1, tzinfo=UTC))
    table = Table(hidden, (hidden,), [(hidden,)], hidden)
    for shown in (repr(table), table._repr_html_(), record._repr_html_(), repr(record)):
        assert not set("\u202e\u2066\u200b\u2028") & set(shown)
        assert r"user\u202enimda\u2066\u200b\u2028 :warning: [red]" in shown
