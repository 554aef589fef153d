"""Control characters of a session, in what a notebook's terminal shows."""

import pytest

from sled_sessions.display.masking import printable
from sled_sessions.display.table import Table

CONTROLS = "".join(map(chr, [*range(32), *range(127, 160)]))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("plain ä 😀 •", "plain ä 😀 •"),
        ("\x1b[31m\n", r"\x1b[31m\x0a"),
        ("\x00\x7f\x9b\xa0", "\\x00\\x7f\\x9b\xa0"),
    ],
)
def test_printable(text, shown):
    """The 65 control characters are written as the escapes of Python; nothing else is changed."""
    assert printable(text) == shown


def test_a_table_obeys_no_cell():
    """A table as text has no control characters but its own line ends, and its columns stand."""
    table = Table(f"a{CONTROLS}", (f"b{CONTROLS}", "c"), [(f"d{CONTROLS}", "e"), ("f", "g")], f"h{CONTROLS}")
    lines = repr(table).split("\n")
    assert len(lines) == 6
    assert not set(CONTROLS) & set("".join(lines))
    assert lines[1].rindex("c") == lines[3].rindex("e") == lines[4].rindex("g")
