"""Durations and moments as people type them."""

from datetime import timedelta, timezone

import pytest

from sled_sessions.display import durations
from sled_sessions.notebook.arguments import moment


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("30s", 30), ("30", 30), ("1.5min", 90), ("2h", 7200), ("7d", 604800)]
)
def test_durations(text, seconds):
    """A duration is a number and a unit; a bare number is in seconds."""
    assert durations.parse(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "s", "-5s", "5 weeks", "1e3s", "+"])
def test_invalid_durations(text):
    """Any other text is refused with an example."""
    with pytest.raises(ValueError, match="30s"):
        durations.parse(text)


def test_too_long_duration():
    """A duration that a timedelta cannot hold is refused."""
    with pytest.raises(ValueError, match="too long: durations end at 999,999,999 days"):
        durations.parse("99999999999999d")


@pytest.mark.parametrize("text", ["-99999999d", "+99999999d"])
def test_moments_beyond_the_calendar(text, clock):
    """A moment that a datetime cannot hold is refused."""
    with pytest.raises(ValueError, match="calendar"):
        moment(text, clock())


def test_moments(clock):
    """A moment is a date, with or without a time and a zone, or a distance from now."""
    now = clock()
    assert moment("+2h", now) - now == timedelta(hours=2)
    assert now - moment("-7d", now) == timedelta(days=7)
    assert moment("2030-01-01T12:00", now) == moment("2030-01-01T13:00+01:00", now) == now.replace(microsecond=0)
    elsewhere = now.astimezone(timezone(timedelta(hours=9)))
    assert moment("2030-01-01T12:00", elsewhere) == moment("2030-01-01T12:00", now)
    with pytest.raises(ValueError, match="moment"):
        moment("soon", now)
