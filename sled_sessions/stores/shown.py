"""Tables of records, as the stores and the notebook show them."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from sled_sessions.display import html, text
from sled_sessions.records import Record

COLUMNS = ("id", "expires", "data")


def rows(records: Iterable[Record], now: datetime, *, reveal: bool = False) -> list[tuple[str, str, str]]:
    """Each record's id, expiry and data; ids are shortened and secrets masked unless `reveal`."""
    return [
        (
            str(record.id) if reveal else text.masked_id(record.id),
            text.moment(record.expiry_date, now),
            text.data_text(record.data, reveal=reveal),
        )
        for record in records
    ]


def first(records: Sequence[Record], now: datetime, order: str) -> html.Markup:
    """A table of the first records of a store; `order` says in what order they come."""
    if not records:
        return html.Markup("<p>no sessions</p>")
    return html.table(COLUMNS, rows(records, now), caption=f"The first {len(records)}, {order}")


def steps(resolution: timedelta | None) -> str:
    """The resolution of an expiry index in words; None: there is no index."""
    return "none" if resolution is None else f"in steps of {text.exactly(resolution)}"
