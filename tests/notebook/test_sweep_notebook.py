"""The functions and plots of notebook 04, on other stores and numbers than its own."""

from datetime import timedelta
from functools import partial
from pathlib import Path

import matplotlib as mpl
import nbformat
import pytest

from sled_sessions import MemoryStore, SledStore, SweepStrategy
from sled_sessions.comparison import compare_sweeps

mpl.use("Agg")

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "04_sweep_strategies.ipynb"


class Cells:
    """Runs cells of the notebook; `names` has the variables they define."""

    def __init__(self):
        cells = nbformat.read(NOTEBOOK, as_version=4).cells
        self._sources = [cell.source for cell in cells if cell.cell_type == "code"]
        self.names = {}

    def run(self, part):
        """Run the first cell that contains this text."""
        exec(next(source for source in self._sources if part in source), self.names)


@pytest.fixture
def cells():
    cells = Cells()
    cells.run("import ")
    yield cells
    cells.names["db"].close()


@pytest.fixture
def simulate_day(cells):
    cells.run("def requests_of(")
    cells.run("def simulate_day(")
    return cells.names["simulate_day"]


def test_a_day_adds_up(simulate_day):
    """Every visitor's session is alive, due or deleted, and a sweep leaves no session due."""
    counts, sweeps = simulate_day(MemoryStore, visitors=200)
    assert len(sweeps) == 24
    deleted = sum(report.deleted for _, report in sweeps)
    _, alive, due = counts[-1]
    assert alive + due + deleted == 200
    assert deleted > 0
    for at, report in sweeps:
        (_, _, before), (_, _, after) = [count for count in counts if count[0] == at][:2]
        assert (before, after) == (report.deleted, 0)


@pytest.mark.parametrize(
    ("strategy", "minutes"),
    [(SweepStrategy.FULL_SCAN, 1), (SweepStrategy.EXPIRY_INDEX, 1), (SweepStrategy.EXPIRY_INDEX, 45)],
)
def test_a_day_is_the_same_on_every_store(simulate_day, tmp_path, strategy, minutes):
    """A simulated day has the same counts in memory, with full scans, and with an index of any resolution."""
    in_memory, _ = simulate_day(MemoryStore, visitors=50)
    with SledStore.open(tmp_path / "storage") as owner:
        tree = owner.tree.db.open_tree("day")
        make_store = partial(SledStore, tree, strategy=strategy, resolution=timedelta(minutes=minutes))
        counts, _ = simulate_day(make_store, visitors=50)
    assert counts == in_memory


def test_write_cost(cells):
    """The plot shows the cost of a save in microseconds, for each resolution and without an index."""
    cells.run("def index_writes(")
    cells.names["compare_sweeps"] = lambda sizes, **options: compare_sweeps([100], repeat=1, **options)
    cells.run("[5_000]")
    ax = cells.names["ax"]
    points, without = ax.lines
    assert list(points.get_xdata()) == ["1", "30", "60", "600"]
    assert without.get_linestyle() == "--"
    assert ax.get_ylabel().endswith("(µs)")
