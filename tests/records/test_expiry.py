"""Expiry policies."""

from datetime import UTC, datetime, timedelta

import pytest

from sled_sessions import EncodeError, Expiry

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def test_on_inactivity():
    """The session lives for the idle time after each save."""
    assert Expiry.on_inactivity(timedelta(seconds=10)).expiry_date(NOW) == NOW + timedelta(seconds=10)


def test_on_session_end():
    """The server keeps a session whose cookie ends with the browser for two weeks, as tower-sessions does."""
    expiry = Expiry.on_session_end()
    assert expiry.ends_with_browser
    assert expiry.expiry_date(NOW) == NOW + timedelta(weeks=2)


def test_at():
    """A fixed moment is that moment, whenever it is asked."""
    assert Expiry.at(NOW).expiry_date(NOW + timedelta(days=1)) == NOW


def test_refuses_naive_and_empty():
    """A naive moment and a duration that is not positive are refused."""
    with pytest.raises(EncodeError, match="time zone"):
        Expiry.at(datetime(2030, 1, 1))
    with pytest.raises(EncodeError, match="longer than zero"):
        Expiry.on_inactivity(timedelta(0))
    with pytest.raises(EncodeError, match="idle must be a timedelta"):
        Expiry.on_inactivity(10)
    with pytest.raises(EncodeError, match="at_most"):
        Expiry.on_inactivity(timedelta(1), at_most=timedelta(-1))


def test_an_endless_one_ends_with_the_calendar():
    """A lifetime beyond Python's calendar is cut there instead of failing in the middle of a request."""
    assert Expiry.on_inactivity(timedelta.max).expiry_date(NOW).year == 9999
