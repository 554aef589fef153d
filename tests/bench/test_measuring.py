"""How things are timed."""

import gc

import pytest

from sled_sessions.bench.measuring import Side, Spread, ratios, take_turns


def test_sides_take_turns():
    """Each turn runs every side once, the other way round every other time, and the warm-up is not counted."""
    order = []
    sides = {name: Side(lambda turn, name=name: order.append((turn, name))) for name in "ab"}
    times = take_turns(sides, 3)
    assert order == [(0, "b"), (0, "a"), (1, "a"), (1, "b"), (2, "b"), (2, "a"), (3, "a"), (3, "b")]
    assert {name: len(each) for name, each in times.items()} == {"a": 3, "b": 3}


def test_what_is_timed():
    """The garbage collector rests during a run, and afterwards the run's work is put back."""
    seen = []
    side = Side(
        run=lambda given: seen.append(("run", given, gc.isenabled())),
        prepare=lambda turn: ["x", turn],
        restore=lambda given: seen.append(("restore", given, gc.isenabled())),
        operations=None,
    )
    take_turns({"one": side}, 1)
    assert seen[:2] == [("run", ["x", 0], False), ("restore", ["x", 0], True)]


def test_spread_and_ratios():
    """Medians and quartiles; ratios are taken turn by turn, so that noise which slows a whole turn cancels out."""
    assert Spread.of([4.0]) == Spread(4.0, 4.0, 4.0)
    assert Spread.of([1, 2, 3, 4, 5]) == Spread(3, 2, 4)
    assert ratios([2, 200, 4], [1, 100, 2]) == Spread(2, 2, 2)
    with pytest.raises(ValueError, match="shorter"):
        ratios([1, 2], [1])
