"""The limits that the package sets itself."""

from typing import Literal

import attrs

from benchmarks.shapes import SHAPES

Of = Literal["ratio", "value"]


@attrs.frozen
class Target:
    """A limit for the median of a line.

    Attributes:
        at_most: The limit.
        of: What it limits: the ratio of ours to the other, or our value in the unit of the line.
        fewest: The number of sessions from which on it applies.
    """

    at_most: float
    of: Of = "ratio"
    fewest: int = 0


TARGETS = {
    "load": Target(1.25, fewest=100_000),
    "save, new session": Target(2.3),
    "save, same index step": Target(1.4),
    "save, other index step": Target(3.0),
    "update": Target(1.5),
    "full scan, nothing due": Target(1.15),
    "index sweep, nothing due": Target(200e-6, "value"),
    "index sweep, nothing due, against fewest sessions": Target(3.0),
    "index sweep, 1 % due": Target(1.25),
    "index sweep, all due": Target(1.25),
    "index sweep, 1 % due, against full scan": Target(1 / 8, fewest=100_000),
    "index build": Target(1.3),
    "memory, index sweep of 1 %": Target(50e6, "value"),
    "memory, full scan": Target(50e6, "value"),
    "import": Target(0.060, "value"),
    "request, same index step, against Starlette's cookie": Target(1.0),
    "request, other index step, against Starlette's cookie": Target(1.0),
    "request, same index step, against starsessions in memory": Target(1.0),
    "request, other index step, against starsessions in memory": Target(1.0),
    "request, against starsessions on Valkey": Target(1.0),
    "request that leaves the session alone": Target(3e-6, "value"),
    "request, Python calls": Target(50, "value"),
    "request, files called": Target(9, "value"),
    **{f"60 KB, {shape}": Target(20) for shape in SHAPES},
}
