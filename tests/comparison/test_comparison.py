"""The comparison of sweep strategies, and its result as a table, a DataFrame and a plot."""

from datetime import timedelta

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure

from sled_sessions import notebook
from sled_sessions.comparison import compare_sweeps

mpl.use("Agg")


@pytest.fixture
def ax():
    """An Axes for this test alone."""
    return Figure().add_subplot()


def test_plot(ax):
    """The plot has logarithmic axes with units, a line in proportion to the sessions, and a constant one."""
    comparison = compare_sweeps([100, 1000], resolutions=[timedelta(seconds=1)], repeat=1)
    assert comparison.plot(ax) is ax
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert ax.get_ylabel().endswith("(s)")
    lines = {line.get_label(): list(line.get_ydata()) for line in ax.lines}
    assert list(lines)[:2] == ["index, 1 s: 1 % due", "index, 1 s: nothing due"]
    small, large = lines["theory: ∝ sessions"]
    assert large == pytest.approx(10 * small)
    small, large = lines["theory: constant"]
    assert large == small


def test_rows_data_frame_and_table():
    """The plain rows, the DataFrame and the table have the same rows."""
    comparison = compare_sweeps([100], resolutions=[timedelta(seconds=1)], repeat=1)
    frame = comparison.to_pandas()
    assert list(frame["strategy"]) == [row["strategy"] for row in comparison.rows()] == ["index", "full-scan"]
    assert frame["resolution"].isna().tolist() == [False, True]
    assert all(each.label in comparison._repr_html_() and each.label in repr(comparison) for each in comparison.costs)


@pytest.mark.parametrize("options", [{"expired": 0}, {"expired": 1.5}, {"repeat": 0}, {"sizes": []}, {"sizes": [1]}])
def test_arguments_out_of_range(options):
    """Shares, sizes and turns out of range raise ValueError before anything is measured."""
    with pytest.raises(ValueError, match=r"expired|sizes"):
        compare_sweeps(**options)


def test_notebooks_have_it_too():
    """`sled_sessions.notebook` exports the same function."""
    assert notebook.compare_sweeps is compare_sweeps
