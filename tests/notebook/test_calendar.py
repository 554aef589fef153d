"""Expiries at the ends of Python's calendar, which a session may have and UTC has not."""

from datetime import datetime, timedelta, timezone

import pytest
from sessions import id_of

from sled_sessions import Record
from sled_sessions.display import text as words

LAST = datetime(9999, 12, 31, 23, 0, tzinfo=timezone(timedelta(hours=-5)))
FIRST = datetime(1, 1, 1, 1, 0, tzinfo=timezone(timedelta(hours=5, minutes=30)))


@pytest.mark.parametrize(("at", "text"), [(LAST, "9999-12-31 23:00:00-05:00"), (FIRST, "0001-01-01 01:00:00+05:30")])
def test_a_moment_that_utc_lacks(at, text, clock):
    """A moment before the first or after the last one in UTC is shown in its own offset."""
    assert words.moment(at) == text
    assert words.moment(at, clock()).startswith(f"{text} (")


def test_a_store_shows_its_other_sessions(run, store):
    """A session that expires at either end of the calendar is shown as all the others are, by every view."""
    store.save(Record(id_of(98), {}, LAST))
    store.save(Record(id_of(99), {}, FIRST))
    assert "-05:00" in repr(run("%sessions --size 100")[0].result)
    assert "UTC" in store._repr_html_()
    for number in range(12):
        store.delete(id_of(number))
    assert "-05:00" in store._repr_html_()
