"""Timing in turns."""

import gc

from sled_sessions.comparison.measuring import Side, Spread, take_turns


def test_sides_take_turns():
    """Each turn runs every side once, every other turn in reverse order, and the warm-up turn is dropped."""
    order = []
    sides = {name: Side(lambda turn, name=name: order.append((turn, name))) for name in "ab"}
    times = take_turns(sides, 3)
    assert order == [(0, "b"), (0, "a"), (1, "a"), (1, "b"), (2, "b"), (2, "a"), (3, "a"), (3, "b")]
    assert {name: len(each) for name, each in times.items()} == {"a": 3, "b": 3}


def test_garbage_collection_is_off_while_timing():
    """The garbage collector is off during a run and on when the run's changes are undone."""
    seen = []
    side = Side(
        run=lambda given: seen.append(("run", given, gc.isenabled())),
        prepare=lambda turn: ["x", turn],
        restore=lambda given: seen.append(("restore", given, gc.isenabled())),
        operations=None,
    )
    take_turns({"one": side}, 1)
    assert seen[:2] == [("run", ["x", 0], False), ("restore", ["x", 0], True)]


def test_spread():
    """A spread has the median and the quartiles."""
    assert Spread.of([4.0]) == Spread(4.0, 4.0, 4.0)
    assert Spread.of([1, 2, 3, 4, 5]) == Spread(3, 2, 4)
