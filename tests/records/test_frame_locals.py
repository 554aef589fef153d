"""An error about an id or a record shows neither to a reporter that records local variables."""

from datetime import UTC, datetime

import pytest
from frame_locals import ID, SECRET, leaks, raised
from odd_records import VALUES, record_with

from sled_sessions import Id, Record

LATER = datetime(2099, 1, 1, tzinfo=UTC)
UNREADABLE = record_with(VALUES["600 levels"], ID)
NOT_JSON = {"card": SECRET, "nested": [{"card": SECRET, "set": {SECRET}}]}


@pytest.mark.parametrize(
    "failing",
    [
        lambda: Id(str(ID)),
        lambda: Id(ID.key + b"x"),
        lambda: Id.parse(f"{ID};"),
        lambda: Id.parse(f"{ID}\N{ACCOUNT OF}"),
        lambda: Record(str(ID), {"card": SECRET}, LATER),
        lambda: Record(ID, {"card": SECRET}, datetime(2099, 1, 1)),
        lambda: Record(ID, NOT_JSON, LATER).encode(),
        lambda: Record(ID, {"card": SECRET}, LATER).encode(max_bytes=10),
        lambda: Record.decode(UNREADABLE),
        lambda: Record.decode(Record(ID, {"card": SECRET}, LATER).encode()[:-1]),
        lambda: Record.decode(
            Record(ID, {"card": SECRET}, LATER).encode().replace(b"\xcd\x08\x33\x01", b"\xcd\x08\x33\xcd\x01\x6e")
        ),
        lambda: Record.decode_live(ID, UNREADABLE, LATER),
        lambda: Record.decode_live(Id.new(), Record(ID, {"card": SECRET}, LATER).encode(), LATER),
        lambda: Record.decode_stored(ID.key[:-1], Record(ID, {"card": SECRET}, LATER).encode()),
    ],
)
def test_ids_and_records(failing):
    """Neither the arguments nor what was made of them is in a local variable."""
    assert leaks(raised(failing)) == []
