"""A table for notebooks and terminals."""

from collections.abc import Sequence

import attrs

from sled_sessions.display import html, text
from sled_sessions.display.masking import printable


@attrs.frozen(repr=False)
class Table:
    """A table with a caption, column headings and a note; columns of numbers or `text.Figure` are right-aligned.

    Attributes:
        caption: The line above the table.
        columns: The column headings.
        rows: The values, row by row.
        note: The line below the table; empty for none.

    Raises:
        ValueError: The length of a row differs from the number of columns.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    note: str = ""

    def __attrs_post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                columns = text.plural(len(self.columns), "column")
                raise ValueError(f"a row has {text.plural(len(row), 'value')}, but the table has {columns}")

    def __repr__(self) -> str:
        lines = [[printable(text.plain(value)) for value in row] for row in (self.columns, *self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        lines.insert(1, ["-" * width for width in widths])
        signs = [">" if is_numeric else "<" for is_numeric in text.numeric(self.columns, self.rows)]
        shown = (
            "  ".join(f"{cell:{sign}{width}}" for cell, sign, width in zip(line, signs, widths, strict=True)).rstrip()
            for line in lines
        )
        return "\n".join(filter(None, [printable(self.caption), *shown, printable(self.note)]))

    def _repr_html_(self) -> str:
        return html.page(html.table(self.columns, self.rows, self.note, self.caption))
