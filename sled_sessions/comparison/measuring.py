"""Timing in turns, so that the ratio of two times holds on a busy machine.

Within one turn every side runs once. A busy machine, or a changing clock rate, slows all sides of a turn alike. Every
other turn runs in reverse order, because the side that runs second finds warmer caches. Garbage is collected before
each run and not during it.
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

_NO_WARM_UP = 1.0  # seconds; a run that takes longer needs no warm-up turn


@attrs.frozen
class Spread:
    """A median and its quartiles: half of the measured values lie between `low` and `high`."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """The spread of at least one value."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high)


@attrs.frozen
class Side:
    """One of the things that are compared: `run` is timed, and `prepare` gets the number of the turn before it.

    `run`, and after it `restore`, get what `prepare` returned. The time is divided by `operations`, or if that is None
    by the length of what `prepare` returned.
    """

    run: Callable[[Any], object]
    prepare: Callable[[int], Any] = lambda turn: turn
    restore: Callable[[Any], object] | None = None
    operations: int | None = 1


def take_turns(sides: Mapping[K, Side], repeat: int, *, budget: float = 60.0) -> dict[K, list[float]]:
    """Time each side `repeat` times, in turns; returns seconds per operation, by side and turn.

    The first turn is a warm-up and is dropped, unless one of its runs took a second or more. No new turn begins after
    `budget` seconds.
    """
    times: dict[K, list[float]] = {name: [] for name in sides}
    names = list(sides)
    longest = 0.0
    gc.collect()
    gc.freeze()  # keeps the collections before each run from walking through every imported module
    start = time.perf_counter()
    try:
        for turn in range(repeat + 1):
            for name in names if turn % 2 else reversed(names):
                seconds, operations = _time(sides[name], turn)
                longest = max(longest, seconds)
                times[name].append(seconds / operations)
            if turn == 0 and longest < _NO_WARM_UP:
                times = {name: [] for name in sides}
            elif time.perf_counter() - start > budget or len(times[names[0]]) == repeat:
                break
    finally:
        gc.unfreeze()
    return times


def _time(side: Side, turn: int) -> tuple[float, int]:
    """The seconds that a run took, and its number of operations."""
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
    """The processor, memory, operating system and Python of this machine."""
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
