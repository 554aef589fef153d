"""A table that shows itself in a notebook and on a terminal."""

from collections.abc import Sequence

import attrs

from sled_sessions import html


@attrs.frozen(repr=False)
class Table:
    """What a magic answers with.

    Attributes:
        caption: What it is about.
        columns: The names of the columns.
        rows: The values, row by row.
        note: What else there is to say.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    note: str = ""

    def __repr__(self) -> str:
        lines = [list(self.columns), *([html.text(value) for value in row] for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        shown = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
        return "\n".join(filter(None, [self.caption, *shown, self.note]))

    def _repr_html_(self) -> str:
        return html.page(html.table(self.columns, self.rows, self.note, self.caption))
