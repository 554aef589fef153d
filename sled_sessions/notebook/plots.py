"""Pictures of what a store holds and costs. Each function draws into `ax`, or a new figure, and returns the Axes."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sled_sessions.display import plots
from sled_sessions.display.text import exactly, plural
from sled_sessions.notebook.day import DAY, MIDNIGHT, Day, is_due
from sled_sessions.notebook.progress import progress_bar
from sled_sessions.stores.memory import MemoryStore
from sled_sessions.stores.sled import SledStore
from sled_sessions.stores.sweep import PROGRESS_STEP

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sled_sessions.bench.sweeps import SweepComparison

_MOST_BINS = 1000
_ALIVE, _DUE, _DELETED, _NOW = plots.BLUE, plots.VERMILION, plots.GREEN, plots.GREY


def plot_expiries(
    store: SledStore | MemoryStore,
    *,
    start: datetime | None = None,
    stop: datetime | None = None,
    bins: int = 48,
    ax: "Axes | None" = None,
) -> "Axes":
    """How many sessions expire when, straight from the expiry index; only of its step that runs now, records are read.

    Args:
        store: The store.
        start: Leave out what expires before this moment.
        stop: Leave out what expires from this moment on.
        bins: How many bars there are, from 1 to 1000.
        ax: Where to draw.

    Raises:
        ValueError: `bins` is anything else.
    """
    if not (isinstance(bins, int) and 1 <= bins <= _MOST_BINS):
        raise ValueError(f"bins must be a number from 1 to {_MOST_BINS}")
    now = store.clock()
    with progress_bar("reading the index") as progress:
        due: list[float] = []
        alive: list[float] = []
        for number, (at, id) in enumerate(store.expiring(start, stop), 1):
            (due if is_due(store, at, id, now) else alive).append(_days(at))
            if number % PROGRESS_STEP == 0:
                progress(number, None)
    ax = ax or plots.new_axes()  # not before: what has failed leaves no empty figure
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    moments = due + alive
    if moments:
        ax.hist([due, alive], bins=bins, color=(_DUE, _ALIVE), stacked=True, label=("due", "alive"))
        # A margin may reach beyond the calendar, where matplotlib finds no dates; `auto` lets another plot widen it.
        ax.set_xlim(*(min(max(at, _FIRST), _LAST) for at in ax.get_xlim()), auto=None)
        if moments[0] <= _days(now) <= moments[-1]:
            ax.axvline(_days(now), color=_NOW, linestyle="--", label="now")
    locator = AutoDateLocator(tz=UTC, minticks=3, maxticks=7)  # type: ignore[no-untyped-call]
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC))  # type: ignore[no-untyped-call]
    plots.label(ax, f"{plural(len(moments), 'session')}, {len(due):,} of them due")
    ax.set(xlabel="expires (UTC)", ylabel="sessions")
    return ax


def plot_day(day: Day, *, ax: "Axes | None" = None) -> "Axes":
    """The sessions of a simulated day: those alive, those that wait for a sweep, and what each sweep deleted.

    Args:
        day: What `simulate_day` returned.
        ax: Where to draw.
    """
    at = [_days(moment.at) for moment in day.moments]
    alive = [moment.alive for moment in day.moments]
    due = [moment.due for moment in day.moments]
    swept = [_days(at) for at, _ in day.sweeps]
    deleted = [report.deleted for _, report in day.sweeps]
    ax = ax or plots.new_axes()
    from matplotlib.dates import DateFormatter, HourLocator

    ax.stackplot(at, alive, due, colors=(_ALIVE, _DUE), labels=("alive", "due"))
    # The last sweep is at midnight, where the drawing ends: its point is not to be cut in half.
    ax.plot(swept, deleted, "o", color=_DELETED, markersize=4, clip_on=False, label="deleted by a sweep")
    ax.xaxis.set_major_locator(HourLocator(byhour=range(0, 24, 4), tz=UTC))  # type: ignore[no-untyped-call]
    ax.xaxis.set_major_formatter(DateFormatter("%H:%M", tz=UTC))  # type: ignore[no-untyped-call]
    ax.set_xlim(_days(MIDNIGHT), _days(MIDNIGHT + DAY))
    ax.set(xlabel="time", ylabel="sessions")
    plots.label(ax, f"A day: {plural(day.visits, 'visit')}, {plural(len(day.sweeps), 'sweep')}")
    return ax


def plot_write_cost(comparison: "SweepComparison", *, ax: "Axes | None" = None) -> "Axes":
    """What saving a session again costs at each resolution of the index, and, as a dashed line, without an index.

    Args:
        comparison: What `compare_sweeps` returned for several resolutions.
        ax: Where to draw.
    """
    ticks = sorted({cost.resolution for cost in comparison.costs if cost.resolution is not None})
    ax = ax or plots.new_axes()
    for sessions in sorted({cost.sessions for cost in comparison.costs}):
        costs = {
            cost.resolution: cost.save_again.median * 1e6 for cost in comparison.costs if cost.sessions == sessions
        }
        seconds = [step.total_seconds() for step in ticks]
        line = ax.plot(seconds, [costs[step] for step in ticks], marker="o", label=plural(sessions, "session"))[0]
        if None in costs:
            ax.axhline(costs[None], color=line.get_color(), linestyle="--", label="without an index")
    ax.set_xscale("log")
    ax.set_xticks([step.total_seconds() for step in ticks], [exactly(step) for step in ticks])
    ax.minorticks_off()
    ax.set_ylim(bottom=0)
    ax.set(xlabel="resolution of the index", ylabel="microseconds")
    plots.label(ax, "Saving a session again, ten seconds later")
    return ax


def _days(at: datetime) -> float:
    """A moment as matplotlib counts them: days since the Unix epoch."""
    return at.timestamp() / 86400


_FIRST, _LAST = (_days(at.replace(microsecond=0, tzinfo=UTC)) for at in (datetime.min, datetime.max))
