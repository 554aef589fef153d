"""The plot of a comparison."""

from statistics import median
from typing import TYPE_CHECKING

from sled_sessions import SweepStrategy
from sled_sessions.display import plots

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sled_sessions.comparison.result import SweepComparison

_COLORS = (plots.BLUE, plots.VERMILION, plots.GREEN)


def plot_sweeps(comparison: "SweepComparison", ax: "Axes | None" = None) -> "Axes":
    """Plot the time of a sweep against the number of sessions, on logarithmic axes; returns the Axes.

    The grey lines show what theory predicts: a full scan takes time in proportion to the sessions, and an index sweep
    that finds nothing takes the same time at any size.
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
    ax.set(xlabel="sessions in the database", ylabel="time of one sweep (s)")
    plots.label(ax, "One sweep", columns=2)
    return ax
