"""The reserved map: what is written is read again, and no value in its place is an error."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from json_values import JSON

from sled_sessions import Expiry
from sled_sessions.records.reserved import make_reserved, read_reserved

DURATIONS = st.timedeltas(min_value=timedelta(microseconds=1), max_value=timedelta(days=100_000_000))
POLICIES = st.one_of(
    st.just(Expiry.on_session_end()),
    st.builds(lambda idle, at_most: Expiry.on_inactivity(idle, at_most=at_most), DURATIONS, st.none() | DURATIONS),
    st.builds(Expiry.at, st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))),
)
DEADLINES = st.none() | st.integers(-(2**63), 2**63 - 1)


@given(DEADLINES, st.none() | POLICIES)
def test_round_trip(deadline, expiry):
    """A deadline and a policy are read as they were written; without either there is no map."""
    reserved = make_reserved(deadline, expiry)
    assert (reserved is None) == (deadline is None and expiry is None)
    assert read_reserved(reserved) == (deadline, expiry)


@given(JSON | st.dictionaries(st.sampled_from(["deadline", "expiry"]), JSON | st.dictionaries(st.text(), JSON)))
def test_any_value_is_read(value):
    """Whatever another program puts there, reading gives a deadline or none, and a policy or none."""
    deadline, expiry = read_reserved(value)
    assert deadline is None or isinstance(deadline, int)
    assert expiry is None or isinstance(expiry, Expiry)
