"""How things are timed: side by side in turns, many times, as medians with their spread.

A machine that is busy, or whose clock rate moves, slows both sides of a turn alike, so ratios are taken turn by turn.
Every other turn goes the other way round, since whoever comes second finds warmer caches. The garbage collector rests
while a run is timed and clears up before it, on all sides the same.
"""

import gc
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self, TypeVar

import attrs

K = TypeVar("K")

_NO_WARM_UP = 1.0


@attrs.frozen
class Spread:
    """A median with its quartiles: half of what was measured lies between them."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """The spread of one value or more."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high)


@attrs.frozen
class Side:
    """One of those that are compared.

    Attributes:
        run: What is timed; gets what `prepare` returned.
        prepare: Called before each run with the number of the turn.
        restore: Called after each run with what `prepare` returned.
        operations: How many operations a run is, so that times are those of one; None: one for each element of what
            `prepare` returned.
    """

    run: Callable[[Any], object]
    prepare: Callable[[int], Any] = lambda turn: turn
    restore: Callable[[Any], object] | None = None
    operations: int | None = 1


def take_turns(sides: Mapping[K, Side], repeat: int, *, budget: float = 60.0) -> dict[K, list[float]]:
    """Time each side `repeat` times, in turns; returns the seconds of one operation, by side and turn.

    A first turn is thrown away, unless a run of it took a second or more: then there is nothing to warm up.

    Args:
        sides: By name.
        repeat: Turns.
        budget: Seconds after which no further turn begins.
    """
    gc.collect()
    gc.freeze()  # or each run would be preceded by a walk through all that was imported
    try:
        return _take_turns(sides, repeat, budget)
    finally:
        gc.unfreeze()


def _take_turns(sides: Mapping[K, Side], repeat: int, budget: float) -> dict[K, list[float]]:
    times: dict[K, list[float]] = {name: [] for name in sides}
    names = list(sides)
    start = time.perf_counter()
    longest = 0.0
    for turn in range(repeat + 1):
        for name in names if turn % 2 else reversed(names):
            seconds, operations = _time(sides[name], turn)
            longest = max(longest, seconds)
            times[name].append(seconds / operations)
        if turn == 0 and longest < _NO_WARM_UP:
            times = {name: [] for name in sides}
        elif time.perf_counter() - start > budget or len(times[names[0]]) == repeat:
            break
    return times


def ratios(above: Sequence[float], below: Sequence[float]) -> Spread:
    """The spread of the quotients, turn by turn."""
    return Spread.of([a / b for a, b in zip(above, below, strict=True)])


def _time(side: Side, turn: int) -> tuple[float, int]:
    """The seconds of a run, and how many operations it was."""
    given = side.prepare(turn)
    gc.collect()
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        start = time.perf_counter()
        side.run(given)
        seconds = time.perf_counter() - start
    finally:
        if was_enabled:
            gc.enable()
    if side.restore is not None:
        side.restore(given)
    return seconds, len(given) if side.operations is None else side.operations


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": _memory(),
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"
    except (ValueError, OSError, AttributeError):
        return "unknown"
