"""Plot when the sessions of a store expire."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sled_sessions.display import plots
from sled_sessions.display.text import plural
from sled_sessions.notebook.progress import progress_bar, watched
from sled_sessions.records import Id, codec
from sled_sessions.stores.memory import MemoryStore
from sled_sessions.stores.sled import SledStore
from sled_sessions.stores.sled.indexed_tree import expiry_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_BINS = 1000


def plot_expiries(
    store: SledStore | MemoryStore,
    *,
    start: datetime | None = None,
    stop: datetime | None = None,
    bins: int = 48,
    ax: "Axes | None" = None,
) -> "Axes":
    """Plot a histogram of expiries, sessions that are due apart from those alive, and return its Axes.

    On a SledStore it reads the expiry index alone, except for the records whose index step contains the present.

    Args:
        store: The store.
        start: Leave out sessions that expire before this moment, an aware datetime.
        stop: Leave out sessions that expire at this moment or later.
        bins: The number of bars, from 1 to 1000.
        ax: The Axes to draw into; None: those of a new figure.

    Raises:
        BackendError: The store cannot be read.
        ImportError: matplotlib or tqdm is not installed.
        ValueError: `bins` is not an integer from 1 to 1000.
    """
    if not (isinstance(bins, int) and 1 <= bins <= _MOST_BINS):
        raise ValueError(f"bins must be an integer from 1 to {_MOST_BINS}")
    now = store.clock()
    with progress_bar("reading the index") as progress:
        due: list[float] = []
        alive: list[float] = []
        for at, id in watched(store.expiring(start, stop), progress):
            (due if _is_due(store, at, id, now) else alive).append(_days(at))
    ax = ax or plots.new_axes()  # only after reading: a failure leaves no empty figure
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    moments = due + alive
    if moments:
        ax.hist([due, alive], bins=bins, color=(plots.VERMILION, plots.BLUE), stacked=True, label=("due", "alive"))
        # Clip the margins to the calendar, beyond which matplotlib has no dates; `auto` lets a later plot widen them.
        ax.set_xlim(*(min(max(at, _FIRST), _LAST) for at in ax.get_xlim()), auto=None)
        if moments[0] <= _days(now) <= moments[-1]:
            ax.axvline(_days(now), color=plots.GREY, linestyle="--", label="now")
    locator = AutoDateLocator(tz=UTC, minticks=3, maxticks=7)  # type: ignore[no-untyped-call]
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC))  # type: ignore[no-untyped-call]
    plots.label(ax, f"{plural(len(moments), 'session')}, {len(due):,} of them due")
    ax.set(xlabel="expires (UTC)", ylabel="sessions")
    return ax


def _is_due(store: SledStore | MemoryStore, at: datetime, id: Id, now: datetime) -> bool:
    """Whether a sweep at `now` would delete a session; `at` is its expiry according to the store's `expiring`."""
    if isinstance(store, MemoryStore) or store.resolution is None or not timedelta(0) <= now - at < store.resolution:
        return at <= now
    # `at` is rounded down to the index step that contains `now`: only the record has the exact expiry.
    value = store.tree.get(id.key)
    expiry = None if value is None else expiry_of(id.key, value)
    return expiry is not None and expiry <= codec.to_microseconds(now)


def _days(at: datetime) -> float:
    """A moment in matplotlib's unit: days since the Unix epoch."""
    return at.timestamp() / 86400


_FIRST, _LAST = (_days(at.replace(microsecond=0, tzinfo=UTC)) for at in (datetime.min, datetime.max))
