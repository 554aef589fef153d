"""HTML made from data: escaped, without formulas, and with long keys shortened."""

import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_values import JSON

from sled_sessions.display import html
from sled_sessions.display import text as words
from sled_sessions.display.table import Table


@given(st.dictionaries(st.text(), JSON | st.floats()))
def test_data_is_escaped(data):
    """The HTML of any session data contains only our own tags."""
    shown = html.data(data) + html.cell(words.data_text(data)) + html.cell(words.data_text(data, reveal=True))
    tags = set(re.findall(r"<[^>]*>?", shown))
    assert tags <= {f"<{end}{tag}>" for tag in ("table", "thead", "tbody", "tr", "th", "td", "p") for end in ("", "/")}


@pytest.mark.parametrize("shown", [html.card("Card", {"a": "$x$"}), Table("Table", ("a",), [("$x$",)])._repr_html_()])
def test_dollar_signs_are_not_typeset(shown):
    """Both old and new MathJax in Jupyter ignore our HTML, so that text between dollar signs stays as it is."""
    assert '<div class="sled-sessions tex2jax_ignore mathjax_ignore"><table>' in shown


def test_undecodable_file_name():
    """Bytes of a file name that cannot be decoded are shown as escapes: a browser cannot be sent surrogates."""
    assert html.cell(os.fsdecode(b"caf\xe9")) == r"caf\udce9"


def test_long_key_is_shortened():
    """A key is shortened like a value, unless everything is revealed."""
    assert "k" * 100 not in html.data({"k" * 100: 1})
    assert "k" * 100 in html.data({"k" * 100: 1}, reveal=True)
