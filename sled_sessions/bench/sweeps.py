"""The strategies of a sweep, side by side: what each costs when saving, and what it saves when sweeping."""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from sled_sessions import Id, Record, SledStore, SweepStrategy
from sled_sessions.bench.database import size
from sled_sessions.bench.measuring import Side, Spread, machine, take_turns
from sled_sessions.bench.workload import Workload
from sled_sessions.display import text
from sled_sessions.display.table import Table
from sled_sessions.stores.sled.store import RESOLUTION
from sled_sessions.stores.sweep import Progress

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

SIZES = (1_000, 10_000, 100_000)
RESOLUTIONS = (timedelta(seconds=1), timedelta(minutes=1))

_BATCH = 500
_MOVED = timedelta(seconds=10)
_SWEEPS = 20
FEWEST = 10


@attrs.frozen
class SweepCost:
    """What one strategy costs with so many sessions. Times are those of one operation, in seconds.

    Attributes:
        strategy: How expired sessions are found.
        resolution: The step of the index; None when there is none.
        sessions: How many there are.
        save_new: Saving a new session.
        save_again: Saving a known session whose expiry moves on by ten seconds.
        load: Loading a session.
        sweep_due: One sweep that finds `due` expired sessions and deletes them.
        sweep_nothing: One sweep that finds none.
        due: How many `sweep_due` deletes.
        disk: Bytes of the database.
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
        """The strategy in a few characters."""
        return (
            self.strategy.value
            if self.resolution is None
            else f"{self.strategy.value}, {text.exactly(self.resolution)}"
        )


@attrs.frozen(repr=False)
class SweepComparison:
    """What `compare_sweeps` found; shows itself as a table.

    Attributes:
        costs: A row for each size, strategy and resolution.
        expired: The share of sessions that was due.
        machine: What it was measured on.
    """

    costs: Sequence[SweepCost]
    expired: float
    machine: Mapping[str, str]

    def table(self) -> Table:
        """The costs for people."""
        columns = (
            "strategy",
            "sessions",
            "save new",
            "save again",
            "load",
            f"sweep, {self.expired * 100:.3g} % due",
            "sweep, nothing due",
            "disk",
        )
        rows = [
            [
                cost.label,
                cost.sessions,
                *(
                    text.elapsed(spread.median)
                    for spread in (cost.save_new, cost.save_again, cost.load, cost.sweep_due, cost.sweep_nothing)
                ),
                text.size(cost.disk),
            ]
            for cost in self.costs
        ]
        return Table(f"Sweeps on {self.machine['processor']}, {self.machine['python']}", columns, rows)

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the sweeps against the number of sessions, with the lines that theory predicts; returns the Axes."""
        from sled_sessions.bench.plots import plot_sweeps

        return plot_sweeps(self, ax)

    def rows(self) -> list[dict[str, object]]:
        """The costs as plain values: medians and resolutions in seconds, sizes in bytes."""
        return [_plain(cost) for cost in self.costs]

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


def compare_sweeps(
    sizes: Sequence[int] = SIZES,
    *,
    expired: float = 0.01,
    strategies: Sequence[SweepStrategy] = tuple(SweepStrategy),
    resolutions: Sequence[timedelta] = RESOLUTIONS,
    repeat: int = 5,
    progress: Progress | None = None,
) -> SweepComparison:
    """Measure each strategy of a sweep on real databases in temporary folders.

    The strategies take turns, so that a busy machine slows all of them alike. With the defaults it takes some ten
    seconds, nearly all of it for the largest size.

    Args:
        sizes: Numbers of sessions.
        expired: The share of sessions that a sweep finds expired, above 0 and up to 1.
        strategies: The ways to find them.
        resolutions: The index's steps; each is measured.
        repeat: How often; medians are shown.
        progress: Called after each size with how many are done, and of how many.

    Raises:
        ValueError: A share, size or number of turns outside its range.
    """
    if not 0 < expired <= 1:
        raise ValueError("expired is a share of the sessions: above 0 and up to 1")
    if repeat < 1 or not sizes or min(sizes) < FEWEST:
        raise ValueError(f"sizes needs numbers from {FEWEST} on, and repeat has to be at least 1")
    configurations: list[tuple[SweepStrategy, timedelta | None]] = []
    for strategy in strategies:
        steps = resolutions if strategy is SweepStrategy.EXPIRY_INDEX else (None,)
        configurations += [(strategy, step) for step in steps]
    costs: list[SweepCost] = []
    for done, sessions in enumerate(sizes, start=1):
        costs += _measure(Workload(sessions), max(round(sessions * expired), 1), configurations, repeat)
        if progress is not None:
            progress(done, len(sizes))
    return SweepComparison(costs, expired, machine())


def _measure(
    workload: Workload, due: int, configurations: Sequence[tuple[SweepStrategy, timedelta | None]], repeat: int
) -> Iterator[SweepCost]:
    with _filled(workload, configurations) as (stores, disks):
        times = {
            name: take_turns(dict(enumerate(map(side, stores))), repeat)
            for name, side in _operations(workload, due).items()
        }
    for place, (strategy, resolution) in enumerate(configurations):
        spreads = {name: Spread.of(series[place]) for name, series in times.items()}
        yield SweepCost(strategy, resolution, workload.sessions, **spreads, due=due, disk=disks[place])


@contextmanager
def _filled(
    workload: Workload, configurations: Sequence[tuple[SweepStrategy, timedelta | None]]
) -> Iterator[tuple[list[SledStore], list[int]]]:
    """A store with the workload's sessions for each configuration, and the bytes that they took."""
    with ExitStack() as stack:
        stores, disks = [], []
        for strategy, resolution in configurations:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sled_sessions-")))
            opened = SledStore.open(folder / "storage", strategy=strategy, resolution=resolution or RESOLUTION)
            store = stack.enter_context(opened)
            for number in range(workload.sessions):
                store.save(workload.record(number))
            store.flush()
            stores.append(store)
            disks.append(size(folder))
        yield stores, disks


def _operations(workload: Workload, due: int) -> dict[str, Callable[[SledStore], Side]]:
    """The operations by the fields of `SweepCost`; each leaves the sessions as it found them."""
    fresh, news = count(1), count()
    now = workload.expiry(due) - timedelta(microseconds=1)

    def put_back(store: SledStore, numbers: Iterable[int]) -> None:
        for number in numbers:
            store.save(workload.record(number))

    def new(turn: int) -> list[Record]:
        return [workload.record(number) for number in workload.new_numbers(_BATCH, next(news))]

    def moved(turn: int) -> dict[int, Record]:
        version = next(fresh)
        return {number: workload.record(number, version, _MOVED) for number in workload.random_numbers(_BATCH)}

    def ids(turn: int) -> list[Id]:
        return [workload.id(number) for number in workload.random_numbers(_BATCH)]

    def save(store: SledStore, records: Iterable[Record]) -> None:
        save_one = store.save
        for record in records:
            save_one(record)

    def load(store: SledStore, ids: Iterable[Id]) -> None:
        load_one = store.load
        for id in ids:
            load_one(id)

    def delete(store: SledStore, records: Iterable[Record]) -> None:
        for record in records:
            store.delete(record.id)

    def saving_new(store: SledStore) -> Side:
        return Side(partial(save, store), new, partial(delete, store), None)

    def saving_again(store: SledStore) -> Side:
        return Side(lambda moved: save(store, moved.values()), moved, partial(put_back, store), None)

    def loading(store: SledStore) -> Side:
        return Side(partial(load, store), ids, operations=None)

    def sweeping_due(store: SledStore) -> Side:
        return Side(lambda turn: store.delete_expired(now=now), restore=lambda turn: put_back(store, range(due)))

    def sweeping_nothing(store: SledStore) -> Side:
        times = 1 if store.resolution is None else _SWEEPS  # by the index, one is over before the timer notices
        return Side(lambda turn: [store.delete_expired() for _ in range(times)], operations=times)

    return {
        "save_new": saving_new,
        "save_again": saving_again,
        "load": loading,
        "sweep_due": sweeping_due,
        "sweep_nothing": sweeping_nothing,
    }


def _plain(cost: SweepCost) -> dict[str, object]:
    row: dict[str, object] = {
        "strategy": cost.strategy.value,
        "resolution": None if cost.resolution is None else cost.resolution.total_seconds(),
        "sessions": cost.sessions,
    }
    row |= {
        name: getattr(cost, name).median for name in ("save_new", "save_again", "load", "sweep_due", "sweep_nothing")
    }
    return row | {"due": cost.due, "disk": cost.disk}
