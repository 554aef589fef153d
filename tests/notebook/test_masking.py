"""Which values are secret, and how they and control characters are hidden."""

import pytest

from sled_sessions.display.masking import MASK, is_secret, masked, printable


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
        ("\x00\x7f\x9b\xa0", "\\x00\\x7f\\x9b\xa0"),
    ],
)
def test_printable(text, shown):
    """The 65 control characters become Python escapes; nothing else changes."""
    assert printable(text) == shown
