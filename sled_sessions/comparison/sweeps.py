"""Time each sweep strategy: what it adds to a save, and what it saves in a sweep."""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

from sled_sessions import Id, Record, SledStore, SweepStrategy
from sled_sessions.comparison.measuring import Side, Spread, machine, take_turns
from sled_sessions.comparison.result import SweepComparison, SweepCost
from sled_sessions.comparison.workload import Workload
from sled_sessions.stores.sweep import Progress

SIZES = (1_000, 10_000, 100_000)
RESOLUTIONS = (timedelta(seconds=1), timedelta(minutes=1))

FEWEST = 10  # the smallest number of sessions that can be compared
_BATCH = 500
_MOVED = timedelta(seconds=10)
_SWEEPS = 20


def compare_sweeps(
    sizes: Sequence[int] = SIZES,
    *,
    expired: float = 0.01,
    strategies: Sequence[SweepStrategy] = tuple(SweepStrategy),
    resolutions: Sequence[timedelta] = RESOLUTIONS,
    repeat: int = 5,
    progress: Progress | None = None,
) -> SweepComparison:
    """Measure each sweep strategy on real databases in temporary folders.

    The strategies take turns, so a busy machine slows all of them alike. With the defaults this takes about ten
    seconds, nearly all of it for the largest size.

    Args:
        sizes: Numbers of sessions; each size is measured in databases of its own.
        expired: The share of the sessions that a sweep finds expired, above 0 and up to 1.
        strategies: The strategies to measure.
        resolutions: The steps of the index to measure.
        repeat: The number of turns; the table shows medians.
        progress: Called after each size with the number of finished sizes and the number of all sizes.

    Raises:
        ValueError: `expired`, `sizes` or `repeat` is out of range.
    """
    if not 0 < expired <= 1:
        raise ValueError("expired must be a share of the sessions: above 0 and up to 1")
    if repeat < 1 or not sizes or min(sizes) < FEWEST:
        raise ValueError(f"sizes must be numbers of at least {FEWEST}, and repeat must be at least 1")
    configurations = [
        (strategy, step)
        for strategy in strategies
        for step in (resolutions if strategy is SweepStrategy.EXPIRY_INDEX else (None,))
    ]
    costs: list[SweepCost] = []
    for done, sessions in enumerate(sizes, start=1):
        costs += _measure(Workload(sessions), max(round(sessions * expired), 1), configurations, repeat)
        if progress is not None:
            progress(done, len(sizes))
    return SweepComparison(costs, expired, machine())


def _measure(
    workload: Workload, due: int, configurations: Sequence[tuple[SweepStrategy, timedelta | None]], repeat: int
) -> Iterator[SweepCost]:
    """The cost of each configuration, one operation after the other, in turns on stores that are all open."""
    with ExitStack() as stack:
        stores = [_filled(workload, *each, stack) for each in configurations]
        disks = [store.tree.db.size_on_disk() for store in stores]
        sides = [_sides(store, workload, due) for store in stores]
        times = {name: take_turns({place: each[name] for place, each in enumerate(sides)}, repeat) for name in sides[0]}
    for place, (strategy, resolution) in enumerate(configurations):
        spreads = {name: Spread.of(series[place]) for name, series in times.items()}
        yield SweepCost(strategy, resolution, workload.sessions, **spreads, due=due, disk=disks[place])


def _filled(workload: Workload, strategy: SweepStrategy, resolution: timedelta | None, stack: ExitStack) -> SledStore:
    """A store with the workload's sessions; `stack` closes it and deletes its folder."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sled_sessions-")), "storage")
    store = stack.enter_context(SledStore.open(folder, strategy=strategy, resolution=resolution or RESOLUTIONS[0]))
    for number in range(workload.sessions):
        store.save(workload.record(number))
    store.flush()
    return store


def _sides(store: SledStore, workload: Workload, due: int) -> dict[str, Side]:
    """The operations to time, named as in `SweepCost`; each leaves the sessions as it found them."""
    now = workload.expiry(due) - timedelta.resolution
    sweeps = 1 if store.resolution is None else _SWEEPS  # an index sweep alone is too short to time

    def new(turn: int) -> list[Record]:
        return [workload.record(number) for number in workload.new_numbers(_BATCH, turn)]

    def moved(turn: int) -> dict[int, Record]:
        return {number: workload.record(number, turn + 1, _MOVED) for number in workload.random_numbers(_BATCH)}

    def ids(turn: int) -> list[Id]:
        return [workload.id(number) for number in workload.random_numbers(_BATCH)]

    def save(records: Iterable[Record]) -> None:
        for record in records:
            store.save(record)

    def load(ids: Iterable[Id]) -> None:
        for id in ids:
            store.load(id)

    def delete(records: Iterable[Record]) -> None:
        for record in records:
            store.delete(record.id)

    def put_back(numbers: Iterable[int]) -> None:
        save(map(workload.record, numbers))

    return {
        "save_new": Side(save, new, delete, operations=None),
        "save_again": Side(lambda moved: save(moved.values()), moved, put_back, operations=None),
        "load": Side(load, ids, operations=None),
        "sweep_due": Side(lambda _: store.delete_expired(now=now), restore=lambda _: put_back(range(due))),
        "sweep_nothing": Side(lambda _: [store.delete_expired() for _ in range(sweeps)], operations=sweeps),
    }
