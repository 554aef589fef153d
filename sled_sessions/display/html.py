"""HTML for notebooks: cards and tables, with everything escaped, for light and dark themes.

Each class's `_repr_html_` chooses what to show; this module decides how it looks. Text inherits the page's colour and
lines are half-transparent grey, which suits any theme. Where the style is removed, as in an untrusted notebook, plain
tables remain.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import islice
from typing import Any

from sled_sessions.display import text
from sled_sessions.display.masking import masked, printable

_STYLE = """<style>
.sled-sessions { overflow-x: auto; margin: .3em 0; }
.sled-sessions table { border-collapse: collapse; margin: .3em 0; font-size: .92em; table-layout: auto; }
.sled-sessions caption { caption-side: top; text-align: left; font-weight: 600; padding: 0 0 .3em; color: inherit;
  white-space: nowrap; }
@media (max-width: 600px) { .sled-sessions caption { white-space: normal; } }
.sled-sessions tr { background: none !important; }
.sled-sessions th, .sled-sessions td { text-align: left !important; vertical-align: top; padding: .2em .9em .2em 0;
  border-bottom: 1px solid rgba(128, 128, 128, .3); max-width: none; white-space: normal; overflow-wrap: anywhere; }
.sled-sessions th, .sled-sessions td:first-child { white-space: nowrap; }
.sled-sessions td + td { min-width: 8em; }
.sled-sessions th { font-weight: 600; opacity: .75; }
.sled-sessions .number { min-width: 0; text-align: right !important; white-space: nowrap; }
.sled-sessions p { opacity: .75; margin: .2em 0; font-size: .92em; }
</style>"""


class Markup(str):
    """A string that is already HTML. All other strings are escaped."""

    __slots__ = ()


def card(title: str, facts: Mapping[str, object], *parts: Markup) -> str:
    """The HTML of an object: its title, a table of named values, and further parts."""
    rows = "".join(f"<tr><th>{cell(name)}</th><td>{cell(value)}</td></tr>" for name, value in facts.items())
    return page(Markup(f"<table><caption>{cell(title)}</caption>{rows}</table>"), *parts)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], note: str = "", caption: str = "") -> Markup:
    """A table with column headings, and optionally a note below and a caption above."""
    rows = list(rows)
    classes = [' class="number"' if is_numeric else "" for is_numeric in text.numeric(columns, rows)]
    head = "".join(f"<th{css}>{cell(name)}</th>" for css, name in zip(classes, columns, strict=True))
    body = "".join(
        f"<tr>{''.join(f'<td{css}>{cell(value)}</td>' for css, value in zip(classes, row, strict=True))}</tr>"
        for row in rows
    )
    top = f"<caption>{cell(caption)}</caption>" if caption else ""
    foot = f"<p>{cell(note)}</p>" if note else ""
    return Markup(f"<table>{top}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{foot}")


def page(*parts: Markup) -> str:
    """Parts with the style around them, ready to return from `_repr_html_`."""
    # Without these two classes Jupyter typesets text between dollar signs as TeX, which could turn data into links.
    return f'{_STYLE}<div class="sled-sessions tex2jax_ignore mathjax_ignore">{"".join(parts)}</div>'


def cell(value: object) -> Markup:
    """A value as escaped HTML, formatted by `text.plain`, in which nothing is hidden."""
    return value if isinstance(value, Markup) else Markup(escape(printable(text.plain(value))))


def data(values: Mapping[str, Any], *, reveal: bool = False) -> Markup:
    """A session's data as a table, with secrets masked and long values shortened unless `reveal`."""
    shown = dict(values) if reveal else masked(dict(values))
    if not shown:
        return Markup("<p>no data</p>")
    rows = [
        (key if reveal else text.shortened(text.plain(key), text.LONGEST_VALUE), text.value_text(value, reveal=reveal))
        for key, value in islice(shown.items(), text.MOST_KEYS)
    ]
    more = len(shown) - len(rows)
    return table(("key", "value"), rows, f"and {text.plural(more, 'more key')}" if more else "")
