"""What objects look like in a notebook: small pieces of HTML, everything escaped, for light themes and dark ones.

The classes say in `_repr_html_` what is worth showing, and this module how it looks. Text has the colour of the page
around it and lines are half-transparent grey, so that no theme needs to be known; without the style, as where a
notebook is not trusted, plain tables remain.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import islice
from typing import Any

from sled_sessions.display import text
from sled_sessions.display.masking import masked

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
    """Text that is HTML already; any other text is escaped where it is used."""

    __slots__ = ()


def card(title: str, facts: Mapping[str, object], *parts: Markup) -> str:
    """An object: what it is, a table of its facts, and whatever else there is to see."""
    rows = "".join(f"<tr><th>{cell(name)}</th><td>{cell(value)}</td></tr>" for name, value in facts.items())
    return page(Markup(f"<table><caption>{cell(title)}</caption>{rows}</table>"), *parts)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], note: str = "", caption: str = "") -> Markup:
    """Rows under the names of their columns, and a line below them."""
    rows = list(rows)
    kinds = [' class="number"' if is_numeric else "" for is_numeric in text.numeric(columns, rows)]
    head = "".join(f"<th{kind}>{cell(name)}</th>" for kind, name in zip(kinds, columns, strict=True))
    body = "".join(
        f"<tr>{''.join(f'<td{kind}>{cell(value)}</td>' for kind, value in zip(kinds, row, strict=True))}</tr>"
        for row in rows
    )
    top = f"<caption>{cell(caption)}</caption>" if caption else ""
    foot = f"<p>{cell(note)}</p>" if note else ""
    return Markup(f"<table>{top}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{foot}")


def page(*parts: Markup) -> str:
    """Parts that stand by themselves."""
    # Without these two classes Jupyter typesets what stands between dollar signs as TeX, which can make links of data.
    return f'{_STYLE}<div class="sled-sessions tex2jax_ignore mathjax_ignore">{"".join(parts)}</div>'


def cell(value: object) -> Markup:
    """A value as HTML: numbers with thousands marked, everything escaped."""
    return value if isinstance(value, Markup) else Markup(escape(text.plain(value)))


def data(values: Mapping[str, Any], *, reveal: bool = False) -> Markup:
    """A session's data as a table, secrets masked and long values cut, unless they shall be revealed."""
    shown = dict(values) if reveal else masked(dict(values))
    rows = [
        (
            key if reveal else text.shortened(text.plain(key), text.LONGEST_VALUE),
            text.value_text(value, reveal=reveal),
        )
        for key, value in islice(shown.items(), text.MOST_KEYS)
    ]
    more = len(shown) - len(rows)
    return (
        table(("key", "value"), rows, f"and {text.plural(more, 'more key')}" if more else "")
        if rows
        else Markup("<p>no data</p>")
    )
