"""Pictures of what a store holds and costs. Each function draws into `ax`, or a new figure, and returns the Axes."""

from datetime import datetime
from typing import TYPE_CHECKING

from sled_sessions.notebook.day import Day
from sled_sessions.notebook.progress import progress_bar
from sled_sessions.stores.memory import MemoryStore
from sled_sessions.stores.sled import SledStore
from sled_sessions.stores.sweep import PROGRESS_STEP

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sled_sessions.bench.sweeps import SweepComparison

# Told apart by all who see colours differently, and on light and dark grounds.
_ALIVE, _DUE, _DELETED, _THEORY = "#0072B2", "#D55E00", "#009E73", "#777777"


def plot_expiries(
    store: SledStore | MemoryStore,
    *,
    start: datetime | None = None,
    stop: datetime | None = None,
    bins: int = 48,
    ax: "Axes | None" = None,
) -> "Axes":
    """How many sessions expire when, straight from the expiry index: no record is read.

    Args:
        store: The store.
        start: Leave out what expires before this moment.
        stop: Leave out what expires from this moment on.
        bins: How many bars there are.
        ax: Where to draw.
    """
    ax = _axes(ax)
    now = store.clock()
    with progress_bar("reading the index") as progress:
        moments = []
        for at, _ in store.expiring(start, stop):
            moments.append(_days(at))
            if len(moments) % PROGRESS_STEP == 0:
                progress(len(moments), None)
    waiting = [at for at in moments if at <= _days(now)]
    if moments:
        ax.hist(
            [waiting, moments[len(waiting) :]], bins=bins, color=(_DUE, _ALIVE), stacked=True, label=("due", "alive")
        )
        if moments[0] <= _days(now) <= moments[-1]:
            ax.axvline(_days(now), color=_THEORY, linestyle="--", label="now")
        ax.legend(frameon=False)
    _time_axis(ax)
    ax.set(title=f"{len(moments):,} sessions, {len(waiting):,} of them due", xlabel="expires (UTC)", ylabel="sessions")
    return ax


def plot_day(day: Day, *, ax: "Axes | None" = None) -> "Axes":
    """The sessions of a simulated day: those alive, those that wait for a sweep, and the ones that sweeps deleted.

    Args:
        day: What `simulate_day` returned.
        ax: Where to draw.
    """
    ax = _axes(ax)
    at = [_days(moment.at) for moment in day.moments]
    alive = [moment.alive for moment in day.moments]
    due = [moment.due for moment in day.moments]
    ax.stackplot(at, alive, due, colors=(_ALIVE, _DUE), labels=("alive", "due: expired, still stored"), alpha=0.85)
    ax.step(at, [moment.deleted for moment in day.moments], where="post", color=_DELETED, label="deleted so far")
    _time_axis(ax)
    ax.set(title=f"A day: {day.visits:,} visits, {len(day.sweeps)} sweeps", xlabel="time (UTC)", ylabel="sessions")
    ax.margins(x=0)
    ax.legend(frameon=False, loc="upper left")
    return ax


def plot_write_cost(comparison: "SweepComparison", *, ax: "Axes | None" = None) -> "Axes":
    """What saving a session again costs at each resolution of the index, and, as a dashed line, without an index.

    Args:
        comparison: What `compare_sweeps` returned for several resolutions.
        ax: Where to draw.
    """
    ax = _axes(ax)
    for sessions in sorted({cost.sessions for cost in comparison.costs}):
        costs = [cost for cost in comparison.costs if cost.sessions == sessions]
        steps = [(cost.resolution.total_seconds(), cost.save_again.median * 1e6) for cost in costs if cost.resolution]
        line = ax.plot(*zip(*sorted(steps), strict=True), marker="o", label=f"{sessions:,} sessions")[0]
        for cost in costs:
            if cost.resolution is None:
                ax.axhline(cost.save_again.median * 1e6, color=line.get_color(), linestyle="--")
    ax.set(xscale="log", title="Saving a session again", xlabel="resolution of the index (s)", ylabel="microseconds")
    ax.set_ylim(bottom=0)
    ax.legend(frameon=False, title="dashed: without an index")
    return ax


def _axes(ax: "Axes | None") -> "Axes":
    """Where to draw."""
    if ax is not None:
        return ax
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        msg = "plots need matplotlib: pip install 'sled_sessions[notebook]'"
        raise ImportError(msg) from None
    figure = plt.figure(figsize=(7, 3.8), layout="constrained")
    ax = figure.add_subplot()
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def _days(at: datetime) -> float:
    """A moment as matplotlib counts them: days since the Unix epoch."""
    return at.timestamp() / 86400


def _time_axis(ax: "Axes") -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=3, maxticks=7)  # type: ignore[no-untyped-call]
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
