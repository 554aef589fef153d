"""Sessions in Jupyter: `%load_ext sled_sessions` for the magics, and the functions below for programs in cells.

What sessions, stores and reports look like is their own `_repr_html_`; it needs nothing from here. Importing this
package imports neither IPython nor matplotlib.
"""

from sled_sessions.comparison import compare_sweeps
from sled_sessions.display.table import Table
from sled_sessions.notebook.plots import plot_expiries
from sled_sessions.notebook.progress import progress_bar
from sled_sessions.notebook.serving import Server, serve

__all__ = ["Server", "Table", "compare_sweeps", "plot_expiries", "progress_bar", "serve"]
