"""`--plot FILE`, for the commands that measure."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class _PlotFile(click.Path):
    """A file that a plot can be drawn into: found out before minutes of measuring, not after them."""

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
    """The option; the command gets a path, or None."""
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
