"""The result of a comparison, as a table, plain rows, a DataFrame or a plot."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from statistics import median
from typing import TYPE_CHECKING

import attrs

from sled_sessions import SweepStrategy
from sled_sessions.comparison.measuring import Spread
from sled_sessions.display import plots, text
from sled_sessions.display.table import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

_COLORS = (plots.BLUE, plots.VERMILION, plots.GREEN)
_TIMES = ("save_new", "save_again", "load", "sweep_due", "sweep_nothing")


@attrs.frozen
class SweepCost:
    """What one strategy costs at one database size. Times are seconds per operation.

    Attributes:
        strategy: How a sweep finds expired sessions.
        resolution: The step of the index; None without an index.
        sessions: The number of sessions in the database.
        save_new: Saving a new session.
        save_again: Saving a known session whose expiry moves by ten seconds.
        load: Loading a session.
        sweep_due: A sweep that deletes `due` sessions.
        sweep_nothing: A sweep that finds nothing to delete.
        due: The number of sessions that `sweep_due` deletes.
        disk: The size of the database, in bytes.
    """

    strategy: SweepStrategy
    resolution: timedelta | None
    sessions: int
    save_new: Spread
    save_again: Spread
    load: Spread
    sweep_due: Spread
    sweep_nothing: Spread
    due: int
    disk: int

    @property
    def label(self) -> str:
        """The strategy and, if it has an index, its resolution."""
        return self.strategy.value + ("" if self.resolution is None else f", {text.exactly(self.resolution)}")


@attrs.frozen(repr=False)
class SweepComparison:
    """The result of `compare_sweeps`; its repr is a table.

    Attributes:
        costs: One for each size, strategy and resolution.
        expired: The share of the sessions that was due, above 0 and up to 1.
        machine: The machine it was measured on.
    """

    costs: Sequence[SweepCost]
    expired: float
    machine: Mapping[str, str]

    def table(self) -> Table:
        """The medians in readable units."""
        due = f"sweep, {self.expired * 100:.3g} % due"
        columns = ("strategy", "sessions", "save new", "save again", "load", due, "sweep, nothing due", "disk")
        rows = []
        for cost in self.costs:
            times = [text.elapsed(getattr(cost, name).median) for name in _TIMES]
            rows.append((cost.label, cost.sessions, *times, text.size(cost.disk)))
        return Table(f"Sweeps on {self.machine['processor']}, {self.machine['python']}", columns, rows)

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Plot the time of a sweep against the number of sessions, on logarithmic axes; returns the Axes.

        The grey lines show what theory predicts: a full scan takes time in proportion to the sessions, and an index
        sweep that finds nothing takes the same time at any size.

        Raises:
            ImportError: matplotlib is not installed.
        """
        ax = ax or plots.new_axes(6, 4.4)
        for place, label in enumerate(dict.fromkeys(cost.label for cost in self.costs)):
            costs = sorted((cost for cost in self.costs if cost.label == label), key=lambda cost: cost.sessions)
            x, color = [cost.sessions for cost in costs], _COLORS[place % len(_COLORS)]
            due, nothing = [cost.sweep_due.median for cost in costs], [cost.sweep_nothing.median for cost in costs]
            ax.plot(x, due, "o-", color=color, linewidth=0.8, label=f"{label}: {self.expired * 100:.3g} % due")
            ax.plot(x, nothing, "o", color=color, markerfacecolor="none", label=f"{label}: nothing due")
        sizes = sorted({cost.sessions for cost in self.costs})
        if scans := [cost for cost in self.costs if cost.strategy is SweepStrategy.FULL_SCAN]:
            each = median(cost.sweep_nothing.median / cost.sessions for cost in scans)
            ax.plot(sizes, [each * size for size in sizes], "--", color=plots.GREY, label="theory: ∝ sessions")
        if sweeps := [cost for cost in self.costs if cost.strategy is SweepStrategy.EXPIRY_INDEX]:
            flat = median(cost.sweep_nothing.median for cost in sweeps)
            ax.plot(sizes, [flat] * len(sizes), ":", color=plots.GREY, label="theory: constant")
        ax.set(xscale="log", yscale="log", xlabel="sessions in the database", ylabel="time of one sweep (s)")
        plots.label(ax, "One sweep", columns=2)
        return ax

    def rows(self) -> list[dict[str, object]]:
        """The costs as plain values: medians and resolutions in seconds, sizes in bytes."""
        return [
            {
                "strategy": cost.strategy.value,
                "resolution": None if cost.resolution is None else cost.resolution.total_seconds(),
                "sessions": cost.sessions,
                **{name: getattr(cost, name).median for name in _TIMES},
                "due": cost.due,
                "disk": cost.disk,
            }
            for cost in self.costs
        ]

    def to_pandas(self) -> "DataFrame":
        """The rows as a DataFrame.

        Raises:
            ImportError: pandas is not installed.
        """
        import pandas as pd

        return pd.DataFrame(self.rows())

    def __repr__(self) -> str:
        return repr(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()
