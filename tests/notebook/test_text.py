"""Values as text: durations, sizes, counts and moments."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from sled_sessions.display import text as words
from sled_sessions.stores.shown import steps

LAST = datetime(9999, 12, 31, 23, 0, tzinfo=timezone(timedelta(hours=-5)))
FIRST = datetime(1, 1, 1, 1, 0, tzinfo=timezone(timedelta(hours=5, minutes=30)))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (2, "2 s"),
        (0.5, "500 ms"),
        (1.5e-3, "1.5 ms"),
        (2e-6, "2 µs"),
        (119, "119 s"),
        (0, "0 µs"),
        (0.00099961, "1 ms"),
        (0.99996, "1 s"),
        (1234.5, "1,230 s"),
    ],
)
def test_elapsed(seconds, text):
    """A measured time has three significant digits, in the unit that fits the rounded value."""
    assert words.elapsed(seconds) == text


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (timedelta(seconds=90), "90 s"),
        (timedelta(minutes=2), "2 min"),
        (timedelta(hours=5), "5 h"),
        (timedelta(days=14), "14 days"),
        (timedelta(days=26000), "71 years"),
        (timedelta(milliseconds=500), "500 ms"),
    ],
)
def test_duration(span, text):
    """A span of time is shown in the largest unit of which it has at least two."""
    assert words.duration(span) == text


@pytest.mark.parametrize(
    ("byte_count", "text"),
    [
        (0, "0 B"),
        (398, "398 B"),
        (524287, "524 kB"),
        (83_300_000, "83.3 MB"),
        (999_600, "1 MB"),
        (1_234_000_000_000, "1,230 GB"),
    ],
)
def test_size(byte_count, text):
    """A number of bytes has three significant digits, in the unit that fits the rounded value."""
    assert words.size(byte_count) == text


@pytest.mark.parametrize(
    ("resolution", "text"),
    [
        (timedelta(seconds=1), "1 s"),
        (timedelta(seconds=1.5), "1.5 s"),
        (timedelta(milliseconds=2500), "2.5 s"),
        (timedelta(seconds=90), "90 s"),
        (timedelta(minutes=5), "5 min"),
        (timedelta(minutes=150), "150 min"),
        (timedelta(hours=60), "60 h"),
        (timedelta(days=731), "731 days"),
        (timedelta(milliseconds=500), "500 ms"),
        (timedelta(microseconds=1), "1 µs"),
        (timedelta(days=2, microseconds=1), "172800.000001 s"),
    ],
)
def test_resolution_is_exact(resolution, text):
    """The step of an index is shown without rounding."""
    assert steps(resolution) == f"in steps of {text}"


@pytest.mark.parametrize(("number", "text"), [(0, "0 keys"), (1, "1 key"), (2000, "2,000 keys")])
def test_plural(number, text):
    """Only the number 1 takes the singular."""
    assert words.plural(number, "key") == text


def test_counting_stops():
    """Counting stops at the first item beyond the limit."""
    endless = iter(range(10**9))
    assert words.counted(endless) == "more than 1,000"
    assert next(endless) == words.COUNT_UP_TO + 1


def test_early_year_has_four_digits():
    """Early years are padded to four digits, as in ISO 8601."""
    assert words.moment(datetime(33, 1, 2, tzinfo=UTC)) == "0033-01-02 00:00:00 UTC"


@pytest.mark.parametrize(("at", "text"), [(LAST, "9999-12-31 23:00:00-05:00"), (FIRST, "0001-01-01 01:00:00+05:30")])
def test_moment_outside_utc(at, text, clock):
    """A moment whose UTC year is 0 or 10000 is shown in its own offset."""
    assert words.moment(at) == text
    assert words.moment(at, clock()).startswith(f"{text} (")
