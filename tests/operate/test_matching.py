"""Looking for sessions by what is in their data."""

from datetime import UTC, datetime

import pytest

from sled_sessions import Id, Record
from sled_sessions.operate import matching


@pytest.mark.parametrize(
    "condition",
    ["n=3", "n=3.0", 'text="3"', "text=3", "user.name=ann", 'user={"name":"ann"}', "a.b=1", "no=", "yes=true", "one=1"],
)
def test_matching(condition):
    """A value is read as JSON and as text, a key literally and as a path."""
    data = {"n": 3, "text": "3", "user": {"name": "ann"}, "a.b": 1, "no": "", "yes": True, "one": 1}
    assert matching(condition)(_record(data))


@pytest.mark.parametrize(
    "condition",
    ["n=4", 'n="3"', "user=ann", "user.name.first=ann", "user.age=3", "name=ann", "=", "n=", "one=true", "yes=1"],
)
def test_not_matching(condition):
    """Another value, another type, or a path that does not exist is not a match."""
    assert not matching(condition)(_record({"n": 3, "user": {"name": "ann"}, "one": 1, "yes": True}))


@pytest.mark.parametrize("condition", ["", "n", "user.name"])
def test_not_a_condition(condition):
    """A condition without a value is refused, and the error says what is expected."""
    with pytest.raises(ValueError, match="KEY=VALUE"):
        matching(condition)


def _record(data):
    return Record(Id(bytes(16)), data, datetime(2099, 1, 1, tzinfo=UTC))
