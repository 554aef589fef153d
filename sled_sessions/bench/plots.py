"""Plots; each returns its Axes, so that whoever asked for it can go on drawing."""

from statistics import median
from typing import TYPE_CHECKING

from sled_sessions import SweepStrategy
from sled_sessions.display import plots
from sled_sessions.display.text import plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from sled_sessions.bench.result import Line
    from sled_sessions.bench.sweeps import SweepComparison


def plot_ratios(lines: "Sequence[Line]", ax: "Axes | None" = None) -> "Axes":
    """Each ratio with its quartiles, beside its target."""
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
    ax.set_xlabel("ours / other, median and middle half")
    ax.legend(loc="best", frameon=False)
    return ax


_LEFT_OUT = {"import", "open", "index sweep, nothing due", "index sweep, 1 % due, against full scan"}
"""Ratios of another order, which would press all others together; the table has them."""


def plot_sweeps(comparison: "SweepComparison", ax: "Axes | None" = None) -> "Axes":
    """The time of a sweep against the number of sessions, log-log.

    The grey lines are what theory predicts: a full scan costs so much for each session, an index sweep that finds
    nothing costs the same however many there are.
    """
    ax = ax or plots.new_axes(6, 4.4)
    labels = list(dict.fromkeys(cost.label for cost in comparison.costs))
    for place, label in enumerate(labels):
        costs = sorted((cost for cost in comparison.costs if cost.label == label), key=lambda cost: cost.sessions)
        x, color = [cost.sessions for cost in costs], _COLORS[place % len(_COLORS)]
        due, nothing = [cost.sweep_due.median for cost in costs], [cost.sweep_nothing.median for cost in costs]
        ax.plot(x, due, "o-", color=color, linewidth=0.8, label=f"{label}: {comparison.expired * 100:.3g} % due")
        ax.plot(x, nothing, "o", color=color, markerfacecolor="none", label=f"{label}: nothing due")
    sizes = sorted({cost.sessions for cost in comparison.costs})
    if scans := [cost for cost in comparison.costs if cost.strategy is SweepStrategy.FULL_SCAN]:
        each = median(cost.sweep_nothing.median / cost.sessions for cost in scans)
        ax.plot(sizes, [each * size for size in sizes], "--", color=plots.GREY, label="theory: ∝ sessions")
    if sweeps := [cost for cost in comparison.costs if cost.strategy is SweepStrategy.EXPIRY_INDEX]:
        flat = median(cost.sweep_nothing.median for cost in sweeps)
        ax.plot(sizes, [flat] * len(sizes), ":", color=plots.GREY, label="theory: constant")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set(xlabel="sessions", ylabel="seconds")
    plots.label(ax, "One sweep", columns=2)
    return ax


_COLORS = (plots.BLUE, plots.VERMILION, plots.GREEN)
