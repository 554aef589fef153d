"""The check of JSON, which is in the engine's extension but has nothing to do with sled."""

import sys
import threading

import pytest

from sled_sessions.sled._native import is_json


class Text(str):
    pass


class Row(list):
    pass


@pytest.mark.parametrize(
    "value",
    [None, True, 0, -(10**30), 1.5, -0.0, "", "é", "\ud800", [], {}, (), [1, [2.5, {"a": (None, False)}]]],
)
def test_json(value):
    """The types of JSON, and tuples as arrays, are JSON; integers of any size and any text pass."""
    assert is_json(value, 5)


@pytest.mark.parametrize(
    "value",
    [
        *(float("nan"), float("inf"), -float("inf"), b"x", {1}, 1j, object(), int, sys, Text("x"), Row(), range(3)),
        *([[b"x"]], ({1: 2},), {Text("a"): 1}, {"a": {None: 1}}, {"a": [Text("x")]}, {"a": [float("nan")]}),
    ],
)
def test_not_json(value):
    """Other types, subclasses, keys that are not str, NaN and infinity are not JSON, wherever they are."""
    assert not is_json(value, 5)


@pytest.mark.parametrize("wrap", [lambda value: [value], lambda value: (0, value), lambda value: {"a": value, "b": 1}])
def test_levels(wrap):
    """Containers may be nested exactly as deep as allowed; a container inside itself is too deep."""
    assert is_json(1, 0)
    value = 1
    for levels in range(1, 1001):
        value = wrap(value)
        assert is_json(value, levels)
        assert not is_json(value, levels - 1)
    cycle = []
    cycle += [wrap(cycle)] * 2
    assert not is_json(cycle, 1000)


def test_levels_on_a_small_stack():
    """The most levels that can be asked for fit into the stack of a thread that was given little."""
    value, found = 1, []
    for _ in range(1000):
        value = [value]
    before = threading.stack_size(1 << 18)
    try:
        thread = threading.Thread(target=lambda: found.append(is_json(value, 1000)))
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join()
    assert found == [True]


@pytest.mark.parametrize(("levels", "error"), [(1001, ValueError), (-1, OverflowError), ("5", TypeError)])
def test_wrong_levels(levels, error):
    """More levels than the stack may hold, and numbers that are none, are refused."""
    with pytest.raises(error):
        is_json([], levels)
