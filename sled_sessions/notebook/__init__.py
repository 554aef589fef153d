"""Sessions in Jupyter: `%load_ext sled_sessions` loads the magics, and the functions below are for code in cells.

Sessions, stores and reports show themselves with their own `_repr_html_`, without this package. Importing it imports
neither IPython nor matplotlib.
"""

from sled_sessions.comparison import compare_sweeps
from sled_sessions.display.table import Table
from sled_sessions.notebook.plots import plot_expiries
from sled_sessions.notebook.progress import progress_bar
from sled_sessions.notebook.serving import Server, serve

__all__ = ["Server", "Table", "compare_sweeps", "plot_expiries", "progress_bar", "serve"]
