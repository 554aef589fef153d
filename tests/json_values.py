"""Any JSON value, and values that are nearly JSON, for tests with Hypothesis."""

import datetime as dt
import enum
from decimal import Decimal
from types import MappingProxyType
from uuid import UUID

from hypothesis import strategies as st

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
"""Integers have the range of msgpack: 64 bits, signed or unsigned."""


class Colour(enum.StrEnum):
    """Text of a subclass of str."""

    RED = "red"


class Level(enum.IntEnum):
    """A number of a subclass of int."""

    HIGH = 3


class Basket(dict):
    """A subclass of dict."""


class Row(list):
    """A subclass of list."""


class Price(float):
    """A subclass of float."""


_ODD = (
    st.sampled_from([Colour.RED, Level.HIGH, Price(1.5), Price("nan"), b"x", bytearray(b"x"), memoryview(b"x"), {1}])
    | st.sampled_from([dt.datetime(2030, 1, 1), dt.date(2030, 1, 1), dt.time(1), dt.timedelta(1)])
    | st.sampled_from([Decimal(1), UUID(int=1), object(), range(3), 1j, Ellipsis, frozenset(), int, len])
    | st.sampled_from([2**64, -(2**63) - 1, 10**30, float("nan"), float("inf"), float("-inf"), "\ud800", "\udfff"])
    | st.text(st.characters(categories=["Cs", "L"]), max_size=3)
    | st.floats()
    | st.integers()
)
_KEYS = st.text(max_size=3) | st.sampled_from([Colour.RED, "\ud800", 1, None, True, 1.5, b"x", (1, 2), Level.HIGH])

NEARLY_JSON = st.recursive(
    JSON | _ODD,
    lambda inner: (
        st.builds(
            lambda kind, items: kind(items), st.sampled_from([list, tuple, Row, iter]), st.lists(inner, max_size=3)
        )
        | st.builds(
            lambda kind, items: kind(items),
            st.sampled_from([dict, Basket, MappingProxyType]),
            st.dictionaries(_KEYS | st.text(), inner, max_size=3),
        )
    ),
    max_leaves=12,
)
"""JSON mixed with what Python programs put into a session by mistake, or in a type of their own."""
