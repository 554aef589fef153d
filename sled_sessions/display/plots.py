"""The shared style of all plots. matplotlib is imported only when a plot is drawn."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Distinguishable with any form of colour blindness, on light and dark backgrounds.
BLUE, VERMILION, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#777777"


def new_axes(width: float = 6, height: float = 3.6) -> "Axes":
    """Axes in a new figure of this size in inches; the default is legible on a phone."""
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        raise ImportError("plots need matplotlib: pip install 'sled_sessions[notebook]'") from None
    ax = plt.figure(figsize=(width, height), layout="constrained").add_subplot()
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def label(ax: "Axes", title: str, columns: int = 3) -> None:
    """Put the title at the left, and the legend between it and the plot, where it hides nothing."""
    handles, names = ax.get_legend_handles_labels()
    lines = -(-len(names) // columns)
    ax.set_title(title, loc="left", pad=8 + 15 * lines)
    if lines:
        ax.legend(
            handles, names, loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, frameon=False, borderaxespad=0.2
        )
