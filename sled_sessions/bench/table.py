"""Tables that look alike on a terminal and in a notebook."""

from collections.abc import Sequence

import attrs

from sled_sessions import html


@attrs.frozen(repr=False)
class Table:
    """Rows of text; all columns but the first and those of words are aligned right.

    Attributes:
        caption: What stands above it.
        columns: Their names.
        rows: The cells.
        words: The columns that hold words, besides the first.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: Sequence[str] = ()

    def __repr__(self) -> str:
        widths = [max(map(len, column)) for column in zip(self.columns, *self.rows, strict=True)]
        signs = ["<" if place == 0 or name in self.words else ">" for place, name in enumerate(self.columns)]

        def line(cells: Sequence[str]) -> str:
            padded = (f"{cell:{sign}{width}}" for cell, sign, width in zip(cells, signs, widths, strict=True))
            return "  ".join(padded).rstrip()

        rule = line(["-" * width for width in widths])
        return "\n".join([self.caption, line(self.columns), rule, *map(line, self.rows)])

    def _repr_html_(self) -> str:
        return html.page(html.table(self.columns, self.rows, caption=self.caption))
