"""Expiry policies."""

from datetime import UTC, datetime, timedelta

import pytest

from sled_sessions import EncodeError, Expiry

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def test_on_inactivity():
    """The session expires the idle time after its last save."""
    assert Expiry.on_inactivity(timedelta(seconds=10)).expiry_date(NOW) == NOW + timedelta(seconds=10)


def test_on_session_end():
    """A session whose cookie ends with the browser is kept for two weeks, as by tower-sessions."""
    expiry = Expiry.on_session_end()
    assert expiry.ends_with_browser
    assert expiry.expiry_date(NOW) == NOW + timedelta(weeks=2)


def test_at():
    """A fixed moment does not depend on the time of the save."""
    assert Expiry.at(NOW).expiry_date(NOW + timedelta(days=1)) == NOW


def test_refuses_invalid_arguments():
    """Naive datetimes, and durations that are not positive timedeltas, are refused."""
    with pytest.raises(EncodeError, match="time zone"):
        Expiry.at(datetime(2030, 1, 1))
    with pytest.raises(EncodeError, match="longer than zero"):
        Expiry.on_inactivity(timedelta(0))
    with pytest.raises(EncodeError, match="idle must be a timedelta"):
        Expiry.on_inactivity(10)
    with pytest.raises(EncodeError, match="at_most"):
        Expiry.on_inactivity(timedelta(1), at_most=timedelta(-1))


def test_lifetime_beyond_the_calendar():
    """A lifetime that exceeds Python's calendar ends with it, instead of raising during a request."""
    assert Expiry.on_inactivity(timedelta.max).expiry_date(NOW).year == 9999
