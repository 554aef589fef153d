"""Options of the commands that measure: numbers of sessions, and `--plot FILE`."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST = 1_000_000_000


class Sizes(click.ParamType[tuple[int, ...]]):
    """Numbers of sessions separated by commas, none below a minimum; duplicates are dropped."""

    name = "numbers"

    def __init__(self, fewest: int) -> None:
        self._fewest = fewest

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Parse the argument."""
        if isinstance(value, tuple):
            return value
        try:
            sizes = tuple(dict.fromkeys(int(word.replace("_", "")) for word in str(value).split(",")))
        except ValueError:
            self.fail(f"{value!r} is not a list of numbers such as 10000,100000", param, ctx)
        if min(sizes) < self._fewest:
            self.fail(f"fewer than {self._fewest} sessions show nothing", param, ctx)
        if max(sizes) > _MOST:
            self.fail(f"more than {_MOST:,} sessions take days", param, ctx)
        return sizes


class _PlotFile(click.Path):
    """A file to draw into; checked before minutes of measuring, not after them."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        try:
            from matplotlib.backends.backend_agg import FigureCanvasAgg
        except ImportError:
            self.fail("plots need matplotlib: pip install 'sled_sessions[notebook]'", param, ctx)
        kinds = FigureCanvasAgg.get_supported_filetypes()
        if path.suffix[1:] not in kinds:
            self.fail(f"{str(path)!r} does not end in one of {', '.join(sorted(kinds))}", param, ctx)
        if not path.parent.is_dir():
            self.fail(f"there is no folder {str(path.parent)!r}", param, ctx)
        return path


def plot_option(what: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option `--plot`; the command gets a path, or None."""
    return click.option("--plot", type=_PlotFile(dir_okay=False, writable=True), help=f"Draw {what} into this file.")


def save(plot: "Callable[[], Axes]", path: Path | None) -> None:
    """Draw into the file, if one is given, without a window."""
    if path is None:
        return
    import matplotlib as mpl

    mpl.use("agg")
    figure = plot().get_figure(root=True)
    if figure is not None:
        figure.savefig(path)
