"""Plots, progress bars and the server: what a notebook has besides magics."""

import asyncio
import threading
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import httpx2
import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
from matplotlib.figure import Figure
from sessions import save_numbered
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route
from tqdm.std import tqdm

from sled_sessions import BackendError, Id, MemoryStore, Record, SledStore, SweepStrategy
from sled_sessions.examples import counter
from sled_sessions.notebook import plot_expiries, progress_bar, serve, serving
from sled_sessions.notebook import progress as progress_module
from sled_sessions.notebook.progress import DELAY
from sled_sessions.operate import export_sessions
from sled_sessions.stores.sweep import PROGRESS_STEP

mpl.use("Agg")


@pytest.fixture
def ax():
    """An Axes of the test's own."""
    return Figure().add_subplot()


def drawn_at(moment):
    return moment.timestamp() / 86400


def heights(ax):
    return sum(bar.get_height() for bars in ax.containers for bar in bars)


def test_expiries_without_reading_records(tmp_path, clock, ax):
    """The distribution comes from the index alone: garbage for records does not disturb it."""
    with SledStore.open(tmp_path / "storage", clock=clock) as store:
        save_numbered(store, 50, expired=10)
        for key in list(store.tree.keys()):
            store.tree.insert(key, b"garbage")
        assert plot_expiries(store, ax=ax) is ax
    assert ax.get_title("left") == "50 sessions, 10 of them due"
    assert heights(ax) == 50


@pytest.mark.parametrize("strategy", SweepStrategy)
def test_expiries_within_the_step_that_runs(tmp_path, clock, ax, strategy):
    """Of the sessions whose step of the index is running, those are due that have expired, as a sweep finds."""
    resolution = timedelta(hours=1)
    with SledStore.open(tmp_path / "storage", clock=clock, resolution=resolution, strategy=strategy) as store:
        clock.advance(minutes=20)
        save_numbered(store, 15, expired=5)
        plot_expiries(store, ax=ax)
        assert ax.get_title("left") == "15 sessions, 5 of them due"
        assert heights(ax) == 15
        assert store.delete_expired().deleted == 5


def test_expiries_of_a_span(clock, ax):
    """Bounds leave out what lies outside of them."""
    store = MemoryStore(clock=clock)
    save_numbered(store, 50, expired=10)
    now = clock()
    plot_expiries(store, start=now, stop=now + timedelta(minutes=5), bins=5, ax=ax)
    assert ax.get_title("left") == "5 sessions, 0 of them due"


def test_titles_count_one_as_one(clock, ax):
    """A single session is singular."""
    store = MemoryStore(clock=clock)
    save_numbered(store, 1)
    assert plot_expiries(store, ax=ax).get_title("left") == "1 session, 0 of them due"


@pytest.mark.parametrize("bins", [0, -1, 1001, 10**30, "auto", None])
def test_expiries_in_bars_that_nobody_can_draw(clock, bins):
    """Too many bars, none, or no number of them are refused, before anything is drawn."""
    before = plt.get_fignums()
    with pytest.raises(ValueError, match="bins must be a number from 1 to 1000"):
        plot_expiries(MemoryStore(clock=clock), bins=bins)
    assert plt.get_fignums() == before


def test_what_fails_leaves_no_figure(tmp_path):
    """A store that cannot be read leaves no empty figure, which a notebook would show below the error."""
    before = plt.get_fignums()
    store = SledStore.open(tmp_path / "storage")
    store.close()
    with pytest.raises(BackendError, match="closed"):
        plot_expiries(store)
    assert plt.get_fignums() == before


def test_expiries_of_nothing(clock):
    """An empty store is an empty plot, in a figure of its own."""
    assert plot_expiries(MemoryStore(clock=clock)).get_title("left") == "0 sessions, 0 of them due"


@pytest.mark.parametrize("at", [datetime.max, datetime.min])
@pytest.mark.parametrize("others", [0, 1])
def test_expiries_at_the_ends_of_the_calendar(tmp_path, clock, ax, at, others):
    """Sessions that expire at either end of the calendar are drawn, though the margins around them have no dates."""
    with SledStore.open(tmp_path / "storage", clock=clock) as store:
        save_numbered(store, others)
        store.save(Record(Id.new(), {}, at.replace(tzinfo=UTC)))
        plot_expiries(store, ax=ax).figure.savefig(tmp_path / "plot.png")
    assert heights(ax) == others + 1


def test_expiries_of_two_stores(clock, ax):
    """A second store drawn into the same axes is in view as a whole, as the first one is."""
    for days in (1, 100):
        store = MemoryStore(clock=clock)
        store.save(Record(Id.new(), {}, clock() + timedelta(days=days)))
        plot_expiries(store, ax=ax)
    left, right = ax.get_xlim()
    today = drawn_at(clock())
    assert left < today + 1 < today + 100 < right


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu"])
def test_the_axis_is_in_utc(zone, ax):
    """Moments are drawn in UTC, as the axis says, whatever time zone matplotlib is set to."""
    midnight = datetime(2030, 1, 1, tzinfo=UTC)
    store = MemoryStore()
    for hour in range(2, 23):
        store.save(Record(Id.new(), {}, midnight + timedelta(hours=hour)))
    with mpl.rc_context({"timezone": zone}):
        labels = {label.get_position()[0]: label.get_text() for label in plot_expiries(store, ax=ax).get_xticklabels()}
    assert labels[drawn_at(midnight + timedelta(hours=4))] == "04:00"


def test_progress_appears_late(capsys):
    """A bar appears for what takes longer than half a second, and for nothing else."""
    with progress_bar("quick") as progress:
        progress(10, None)
        progress(20, 20)
    assert capsys.readouterr().err == ""
    with progress_bar("slow") as progress:
        threading.Event().wait(DELAY * 1.2)
        progress(1024, None)
        progress(2048, 2048)
    printed = capsys.readouterr().err
    assert "slow" in printed
    assert "2.05k" in printed


@pytest.mark.parametrize(("delay", "made"), [(1000, 0), (0, 1)])
def test_a_bar_is_made_when_it_appears(monkeypatch, delay, made):
    """What ends before makes no bar at all, as each would leave widgets in the kernel."""
    bars = []
    monkeypatch.setattr("tqdm.auto.tqdm", lambda **options: bars.append(tqdm(**options)) or bars[-1])
    monkeypatch.setattr(progress_module, "DELAY", delay)
    with progress_bar("working") as progress:
        assert not bars
        progress(10, None)
        progress(0, 0)
        progress(20, 20)
    assert len(bars) == made
    assert all((bar.n, bar.total, bar.leave) == (20, 20, True) for bar in bars)


def test_an_interrupted_bar_vanishes(monkeypatch, capsys):
    """A bar without a total, which at its end is green in Jupyter, does not stay when the work was interrupted."""
    monkeypatch.setattr(progress_module, "DELAY", 0)

    def work():
        with progress_bar("working") as progress:
            progress(10, None)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert capsys.readouterr().err.endswith("\r")


def test_what_takes_long_tells_how_far_it_is(tmp_path):
    """Building the index, comparing it, a full scan and an export all move a bar."""
    told = {}

    def watch(what):
        return lambda done, total: told.setdefault(what, []).append(done)

    with SledStore.open(tmp_path / "storage", strategy=SweepStrategy.FULL_SCAN) as store:
        save_numbered(store, PROGRESS_STEP + 1)
        store.delete_expired(progress=watch("scan"))
        export_sessions(store.tree, tmp_path / "sessions.jsonl", progress=watch("export"))
    with SledStore.open(tmp_path / "storage", progress=watch("build")) as store:
        store.verify_index(watch("verify"))
        store.rebuild_index(watch("rebuild"))
    assert set(told) == {"scan", "export", "build", "verify", "rebuild"}
    assert all(done == sorted(done) and done[0] >= PROGRESS_STEP for done in told.values())


def test_serving(clock):
    """An application answers on a port of its own until it is stopped, and then no more."""
    with serve(counter.make_app(MemoryStore())) as server:
        with httpx2.Client(base_url=server.url) as client:
            assert [client.get("/").text for _ in range(2)] == ["Current count: 0", "Current count: 1"]
        assert "running" in repr(server)
    assert "stopped" in repr(server)
    server.stop()
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(server.url)


def test_an_application_that_does_not_start(capsys):
    """When the start-up fails, so does serve, and leaves no thread behind."""

    def fail(app):
        raise RuntimeError("no")

    before = threading.active_count()
    with pytest.raises(RuntimeError, match="did not start"):
        serve(Starlette(lifespan=lambda app: fail(app)))
    assert threading.active_count() == before


def test_an_application_whose_start_up_hangs(monkeypatch, capfd):
    """A start-up that takes too long is not waited for, and ends without a sound if it comes to its end one day."""
    monkeypatch.setattr(serving, "START_WITHIN", 0.1)
    begun, go_on = threading.Event(), threading.Event()

    @asynccontextmanager
    async def hang(app):
        begun.set()
        await asyncio.to_thread(go_on.wait)
        yield

    before = set(threading.enumerate())
    with pytest.raises(RuntimeError, match=r"within 0\.1 seconds"):
        serve(Starlette(lifespan=hang))
    begun.wait()
    left = set(threading.enumerate()) - before
    go_on.set()
    for thread in left:
        thread.join()
    assert capfd.readouterr() == ("", "")


def test_stopping_cuts_off_an_endless_stream(monkeypatch):
    """A response that never ends does not keep the server from stopping."""
    monkeypatch.setattr(serving, "STOP_WITHIN", 1)

    async def stream(request):
        async def beats():
            while True:
                yield b"beat"
                await asyncio.sleep(0.01)

        return StreamingResponse(beats())

    with serve(Starlette(routes=[Route("/", stream)])) as server, httpx2.stream("GET", server.url) as response:
        answer = response.iter_raw()  # the connection lasts as long as this does
        assert next(answer).startswith(b"beat")
        server.stop()
        assert server._server.config.timeout_graceful_shutdown == 1
    assert "stopped" in repr(server)


@pytest.mark.parametrize("app", [None, "app:app"])
def test_what_is_no_application(app):
    """Anything that cannot be called is refused before there is a server."""
    with pytest.raises(TypeError, match="must be an ASGI application, not"):
        serve(app)
