"""The plot of a benchmark run."""

from typing import TYPE_CHECKING

from sled_sessions.display import plots
from sled_sessions.display.text import plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from benchmarks.result import Line


def plot_ratios(lines: "Sequence[Line]", ax: "Axes | None" = None) -> "Axes":
    """Plot each ratio with its quartiles, beside its target; returns the Axes."""
    shown = [line for line in lines if line.ratio is not None and line.unit == "s" and line.name not in _LEFT_OUT]
    names = list(dict.fromkeys(line.name for line in shown))
    sizes = sorted({line.sessions for line in shown})
    ax = ax or plots.new_axes(8, 1.2 + 0.42 * len(names))
    for place, sessions in enumerate(sizes):
        points = [line for line in shown if line.sessions == sessions]
        spreads = [line.ratio for line in points if line.ratio is not None]
        offset = 0.6 * ((place + 0.5) / len(sizes) - 0.5)
        ax.errorbar(
            [each.median for each in spreads],
            [names.index(line.name) + offset for line in points],
            xerr=[[each.median - each.low for each in spreads], [each.high - each.median for each in spreads]],
            fmt="o",
            markersize=4,
            label=plural(sessions, "session") if sessions else "without a database",
        )
    limits = {line.name: line.target.at_most for line in shown if line.target and line.target.of == "ratio"}
    ax.plot(
        list(limits.values()),
        [names.index(name) for name in limits],
        "|",
        markersize=16,
        markeredgewidth=2,
        color=plots.GREY,
        label="target",
    )
    ax.axvline(1, color=plots.GREY, linewidth=0.8)
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    ax.set_xlabel("ours / other (ratio of times: median and middle half)")
    ax.legend(loc="best", frameon=False)
    return ax


_LEFT_OUT = {"import", "open", "index sweep, nothing due", "index sweep, 1 % due, against full scan"}
"""Ratios so large or small that they would squeeze all others together; the tables have them."""
