"""Session ids as text, bytes and integers."""

import jinja2
import markupsafe
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import read_jsonl

from sled_sessions import DecodeError, Id

VECTORS = read_jsonl("vectors.jsonl") + read_jsonl("records.jsonl")


@pytest.mark.parametrize("row", VECTORS, ids=lambda row: row["id"])
def test_agrees_with_rust(row):
    """An id's text, number and key are those of the Rust crate."""
    id = Id.parse(row["id"])
    assert (str(id), int(id), bytes(id).hex()) == (row["id"], int(row["id_int"]), row["key"])


@given(st.binary(min_size=16, max_size=16))
def test_text_round_trips(key):
    """Parsing an id's text gives the id back, for any 128 bits."""
    assert Id.parse(str(Id(key))) == Id(key)


@given(st.text(max_size=30) | st.text("AQgwZz09-_=+/", min_size=20, max_size=24))
def test_only_one_text_per_id(text):
    """A text that parses is exactly its id's text, so no two cookies name the same session."""
    try:
        id = Id.parse(text)
    except DecodeError:
        return
    assert str(id) == text


@pytest.mark.parametrize(
    "bad", ["", "malformed", "%00", '"mlgwO8-5u_-Fz9g15_X-mQ"', "A" * 21 + "B", "A" * 22 + "\n", None, b"x"]
)
def test_refuses_other_text(bad):
    """Anything but 22 characters that decode to exactly 16 bytes raises DecodeError."""
    with pytest.raises(DecodeError):
        Id.parse(bad)


def test_refuses_a_wrong_length():
    """An id needs exactly 16 bytes."""
    with pytest.raises(DecodeError):
        Id(b"short")


def test_new_ids_differ():
    """New ids differ, in both halves of their bits."""
    ids = [Id.new() for _ in range(100)]
    assert len(set(ids)) == len({id.key[:8] for id in ids}) == len({id.key[8:] for id in ids}) == 100


def test_repr_hides_the_id():
    """An id's repr does not contain enough of it to use it."""
    id = Id.new()
    assert str(id) not in repr(id)
    assert bytes(id).hex() not in repr(id)
    assert len(repr(id)) < 16


def test_templates_hide_the_id():
    """Jinja with autoescape, and anything else that escapes by `__html__`, shows only an id's first characters."""
    id = Id.new()
    page = jinja2.Environment(autoescape=True).from_string("{{ id }}").render(id=id)
    assert page == markupsafe.Markup("%s") % id == f"{str(id)[:4]}…"
