"""Values of a declared shape: `get_as` and `set_as`."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal, TypedDict

import attrs
import msgspec
import pydantic
import pytest

from sled_sessions import DecodeError, EncodeError

NOW = datetime(2030, 1, 1, tzinfo=UTC)


class Struct(msgspec.Struct):
    since: datetime
    sizes: dict[int, Decimal] = {}


@attrs.define
class Attrs:
    since: datetime
    sizes: dict[int, Decimal] = attrs.field(factory=dict)


@dataclass
class Dataclass:
    since: datetime
    sizes: dict[int, Decimal] = field(default_factory=dict)


class Model(pydantic.BaseModel):
    model_config = {"strict": True}

    since: datetime = pydantic.Field(alias="Since")
    sizes: dict[int, Decimal] = {}


class Holder(msgspec.Struct):
    models: list[Model]


class Typed(TypedDict):
    n: int


class Unknown: ...


@attrs.define
class Checked:
    pin: str = attrs.field(validator=attrs.validators.matches_re("[0-9]*"))


class CheckedModel(pydantic.BaseModel):
    pin: str

    @pydantic.field_validator("pin")
    @classmethod
    def check(cls, pin):
        raise ValueError(pin)


VALUES = {
    "struct": Struct(NOW, {7: Decimal("1.5")}),
    "attrs": Attrs(NOW, {7: Decimal("1.5")}),
    "dataclass": Dataclass(NOW, {7: Decimal("1.5")}),
    "model": Model(Since=NOW, sizes={7: Decimal("1.5")}),
    "models inside": Holder([Model(Since=NOW)]),
    "typed dict": {"n": 1},
    "list": [Struct(NOW)],
    "moment": NOW,
}
TYPES = {"list": list[Struct], "typed dict": Typed}


@pytest.mark.parametrize("kind", VALUES)
def test_round_trip(manager, kind):
    """What `set_as` stores, `get_as` returns in the next request, with its types."""
    with manager.session() as session:
        session.set_as("value", VALUES[kind])
    found = manager.open(session.id).get_as("value", TYPES.get(kind, type(VALUES[kind])))
    assert found == VALUES[kind]


def test_missing(manager):
    """A key that is missing, or null, gives None."""
    session = manager.open()
    session["null"] = None
    assert session.get_as("missing", Struct) is session.get_as("null", Struct) is None


def test_is_a_copy(manager):
    """Changing what `get_as` returned changes nothing until `set_as`; setting an equal value is no change."""
    with manager.session() as session:
        session.set_as("value", Struct(NOW))
    session = manager.open(session.id)
    session.set_as("value", session.get_as("value", Struct))
    session.get_as("value", Struct).since = datetime.now(UTC)
    assert not session.is_modified
    assert session.get_as("value", Struct).since == NOW


@pytest.mark.parametrize("shape", [Struct, Attrs, Dataclass, Model, list[Struct]])
def test_another_shape(manager, shape):
    """A stored value of another shape raises DecodeError, which names the key and the path, and shows no value."""
    session = manager.open()
    session["value"] = {"since": "secret", "Since": "secret"}
    with pytest.raises(DecodeError, match=r"^session\['value'\] is not a ") as caught:
        session.get_as("value", shape)
    assert shape == list[Struct] or "ince" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("shape", [Checked, CheckedModel, dict[str, Literal["other"]]])
def test_validators_that_quote_the_value(manager, shape):
    """The message has the path, and not what a validator or an enum says about the value."""
    session = manager.open()
    session["value"] = {"pin": "secret ` - at `$`"}
    with pytest.raises(
        DecodeError, match=r"raised ValueError$|pin: value_error|Invalid enum value - at `session\['value'\]"
    ) as caught:
        session.get_as("value", shape)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("value", [object(), Holder([object()]), Struct(NOW, {1: object()}), [float("nan")]])
def test_no_json(manager, value):
    """An object that cannot become JSON raises EncodeError, and sets nothing."""
    session = manager.open()
    with pytest.raises(EncodeError):
        session.set_as("value", value)
    assert "value" not in session


@pytest.mark.parametrize("shape", [object(), Unknown, list[Unknown]])
def test_unknown_shape(manager, shape):
    """Something that is not a shape raises TypeError: the mistake is in the program, not in the data."""
    session = manager.open()
    session["value"] = [{}]
    with pytest.raises(TypeError):
        session.get_as("value", shape)
