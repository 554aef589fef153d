"""Sessions in Jupyter: `%load_ext sled_sessions` for the magics, and the functions below for programs in cells.

What sessions, stores and reports look like is their own `_repr_html_`; it needs nothing from here. Importing this
package imports neither IPython nor matplotlib.
"""

from sled_sessions.display.table import Table
from sled_sessions.notebook.day import Day, simulate_day
from sled_sessions.notebook.plots import plot_day, plot_expiries, plot_write_cost
from sled_sessions.notebook.progress import progress_bar
from sled_sessions.notebook.serving import Server, serve

__all__ = [
    "Day",
    "Server",
    "Table",
    "plot_day",
    "plot_expiries",
    "plot_write_cost",
    "progress_bar",
    "serve",
    "simulate_day",
]
