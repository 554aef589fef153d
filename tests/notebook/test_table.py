"""Tables, as text and as HTML."""

import pytest

from sled_sessions.display import text as words
from sled_sessions.display.table import Table

CONTROLS = "".join(map(chr, [*range(32), *range(127, 160)]))


def test_same_cells_in_text_and_html():
    """A table has the same cells on a terminal and in a notebook."""
    table = Table(
        "Ages", ("who", "born", "took"), [("<ada>", 1815, words.elapsed(2)), ("bob", None, "")], "That is all."
    )
    assert repr(table).splitlines() == [
        "Ages",
        "who     born  took",
        "-----  -----  ----",
        "<ada>  1,815   2 s",
        "bob        -",
        "That is all.",
    ]
    shown = table._repr_html_()
    assert all(text in shown for text in ("Ages", "<td>&lt;ada&gt;</td>", 'class="number">1,815<', "That is all."))
    assert shown.count('<th class="number">') == 2
    assert repr(Table("None", ("who",), [])) == "None\nwho\n---"


def test_refuses_a_row_of_another_length():
    """A row whose length differs from the number of columns is refused when the table is made."""
    with pytest.raises(ValueError, match="a row has 1 value, but the table has 2 columns"):
        Table("Ages", ("who", "born"), [("ada", 1815), ("bob",)])


def test_numeric_columns():
    """A column is numeric if all its values are numbers: text, bools and empty columns are not."""
    rows = [(1, 2.5, words.size(3), "4", True, None), (None, "", "", "5", False, "")]
    assert words.numeric("abcdef", rows) == [True, True, True, False, False, False]


def test_control_characters_are_escaped():
    """A table as text has no control characters except its own line breaks, and its columns stay aligned."""
    table = Table(f"a{CONTROLS}", (f"b{CONTROLS}", "c"), [(f"d{CONTROLS}", "e"), ("f", "g")], f"h{CONTROLS}")
    lines = repr(table).split("\n")
    assert len(lines) == 6
    assert not set(CONTROLS) & set("".join(lines))
    assert lines[1].rindex("c") == lines[3].rindex("e") == lines[4].rindex("g")
