"""plot_expiries."""

from datetime import UTC, datetime, timedelta

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
from matplotlib.figure import Figure
from sessions import save_numbered

from sled_sessions import BackendError, Id, MemoryStore, Record, SledStore, SweepStrategy
from sled_sessions.notebook import plot_expiries

mpl.use("Agg")


@pytest.fixture
def ax():
    """Axes for one test."""
    return Figure().add_subplot()


def drawn_at(moment):
    return moment.timestamp() / 86400


def heights(ax):
    return sum(bar.get_height() for bars in ax.containers for bar in bars)


def test_reads_only_the_index(tmp_path, clock, ax):
    """The plot comes from the index alone: unreadable records make no difference."""
    with SledStore.open(tmp_path / "storage", clock=clock) as store:
        save_numbered(store, 50, expired=10)
        for key in list(store.tree.keys()):
            store.tree.insert(key, b"garbage")
        assert plot_expiries(store, ax=ax) is ax
    assert ax.get_title("left") == "50 sessions, 10 of them due"
    assert heights(ax) == 50


@pytest.mark.parametrize("strategy", SweepStrategy)
def test_expiries_in_the_current_step(tmp_path, clock, ax, strategy):
    """In the index step that contains the present, the plot counts the same sessions as due as a sweep deletes."""
    resolution = timedelta(hours=1)
    with SledStore.open(tmp_path / "storage", clock=clock, resolution=resolution, strategy=strategy) as store:
        clock.move(timedelta(minutes=20))
        save_numbered(store, 15, expired=5)
        plot_expiries(store, ax=ax)
        assert ax.get_title("left") == "15 sessions, 5 of them due"
        assert heights(ax) == 15
        assert store.delete_expired().deleted == 5


def test_expiries_between_bounds(clock, ax):
    """Bounds leave out the sessions outside them."""
    store = MemoryStore(clock=clock)
    save_numbered(store, 50, expired=10)
    now = clock()
    plot_expiries(store, start=now, stop=now + timedelta(minutes=5), bins=5, ax=ax)
    assert ax.get_title("left") == "5 sessions, 0 of them due"


def test_title_of_one_session(clock, ax):
    """The title uses the singular for one session."""
    store = MemoryStore(clock=clock)
    save_numbered(store, 1)
    assert plot_expiries(store, ax=ax).get_title("left") == "1 session, 0 of them due"


@pytest.mark.parametrize("bins", [0, -1, 1001, 10**30, "auto", None])
def test_refuses_a_bad_number_of_bars(clock, bins):
    """A number of bars out of range, or not an integer, is refused before anything is drawn."""
    before = plt.get_fignums()
    with pytest.raises(ValueError, match="bins must be an integer from 1 to 1000"):
        plot_expiries(MemoryStore(clock=clock), bins=bins)
    assert plt.get_fignums() == before


def test_failure_leaves_no_figure(tmp_path):
    """A store that cannot be read leaves no empty figure, which a notebook would show below the error."""
    before = plt.get_fignums()
    store = SledStore.open(tmp_path / "storage")
    store.close()
    with pytest.raises(BackendError, match="closed"):
        plot_expiries(store)
    assert plt.get_fignums() == before


def test_empty_store(clock):
    """An empty store gives an empty plot, in a new figure."""
    assert plot_expiries(MemoryStore(clock=clock)).get_title("left") == "0 sessions, 0 of them due"


@pytest.mark.parametrize("at", [datetime.max, datetime.min])
@pytest.mark.parametrize("others", [0, 1])
def test_expiries_at_the_ends_of_the_calendar(tmp_path, clock, ax, at, others):
    """Sessions at either end of Python's calendar are drawn, although the margins around them have no dates."""
    with SledStore.open(tmp_path / "storage", clock=clock) as store:
        save_numbered(store, others)
        store.save(Record(Id.new(), {}, at.replace(tzinfo=UTC)))
        plot_expiries(store, ax=ax).figure.savefig(tmp_path / "plot.png")
    assert heights(ax) == others + 1


def test_two_stores_in_one_plot(clock, ax):
    """Drawing a second store into the same Axes keeps both in view."""
    for days in (1, 100):
        store = MemoryStore(clock=clock)
        store.save(Record(Id.new(), {}, clock() + timedelta(days=days)))
        plot_expiries(store, ax=ax)
    left, right = ax.get_xlim()
    today = drawn_at(clock())
    assert left < today + 1 < today + 100 < right


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu"])
def test_axis_is_in_utc(zone, ax):
    """The axis is in UTC, whatever matplotlib's time zone."""
    midnight = datetime(2030, 1, 1, tzinfo=UTC)
    store = MemoryStore()
    for hour in range(2, 23):
        store.save(Record(Id.new(), {}, midnight + timedelta(hours=hour)))
    with mpl.rc_context({"timezone": zone}):
        labels = {label.get_position()[0]: label.get_text() for label in plot_expiries(store, ax=ax).get_xticklabels()}
    assert labels[drawn_at(midnight + timedelta(hours=4))] == "04:00"
