"""A dict that is filled on first use and knows what was changed in it, nested changes included."""

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, NoReturn

import msgspec

from sled_sessions.errors import EncodeError
from sled_sessions.records.json import is_plain, to_plain

_pack = msgspec.msgpack.Encoder().encode
_pack_sorted = msgspec.msgpack.Encoder(order="sorted").encode
_unpack = msgspec.msgpack.Decoder(dict[str, Any]).decode
_ABSENT = object()
_SCALARS = frozenset({type(None), bool, int, str})
_UNCHANGING = _SCALARS | {type(_ABSENT)}
_CONTAINERS = (list, dict)


if TYPE_CHECKING:
    _Base = dict[str, Any]  # to a type checker, every dict is a MutableMapping
else:

    class _Base(MutableMapping, dict):
        __slots__ = ()


class Changes(NamedTuple):
    """What a commit has to store: copies, that stay what they are whatever the app does to a container meanwhile.

    A container that the app first touches while a store is awaited is none of them: it may go along as it is by then.

    Attributes:
        changed: The keys that were set, with their values.
        kept: Those with a container that is as it was, though the app may have changed it and changed it back.
        removed: Those that were removed.
        images: All that were touched, each with what its value looked like.
    """

    changed: dict[str, Any]
    kept: dict[str, Any]
    removed: list[str]
    images: dict[str, object]

    @property
    def is_any(self) -> bool:
        """Whether there is anything to store."""
        return bool(self.changed or self.removed)

    def __repr__(self) -> str:
        return f"Changes(changed={list(self.changed)}, removed={self.removed})"  # values may be secrets


class TrackedDict(_Base):
    """Text keys to JSON values.

    `MutableMapping` comes first, so that every operation passes through the methods below. `dict` is where the values
    lie, so that what insists on a dict, `json.dumps` for one, takes this for one.

    A change is found by comparing values, containers in their encoded form: setting an equal value is none, and
    `session["cart"].append(...)` is one. Only what was handed out or set is compared.
    """

    __slots__ = ("_before",)
    reserved: ClassVar[str | None] = None
    """A key that cannot be set, since something else is kept under it."""

    def __init__(self) -> None:
        # The keys that were touched, each with the image of its value as it was stored, _ABSENT for one that was not.
        self._before: dict[str, object] = {}

    def load(self) -> None:
        """Fill the dict, if that is still to be done; every operation calls this first."""

    def __getitem__(self, key: str) -> Any:
        self.load()
        value = dict.__getitem__(self, key)
        if isinstance(value, _CONTAINERS):
            self._remember(key)
        return value

    def __setitem__(self, key: str, value: Any) -> None:
        self.load()
        _encode(key, value)  # refuse what JSON cannot hold here, where the mistake is, and not when it is saved
        if key == self.reserved:
            raise EncodeError(f"the key {key!r} is taken for the session's own use; choose another")
        self._remember(key)
        dict.__setitem__(self, key, value)

    def __delitem__(self, key: str) -> None:
        self.load()
        if not dict.__contains__(self, key):
            raise KeyError(key)
        self._remember(key)
        dict.__delitem__(self, key)

    def __iter__(self) -> Iterator[str]:
        self.load()
        return dict.__iter__(self)

    def __reversed__(self) -> Iterator[str]:
        self.load()
        return dict.__reversed__(self)

    def __len__(self) -> int:
        self.load()
        return dict.__len__(self)

    def __contains__(self, key: object) -> bool:
        self.load()
        return dict.__contains__(self, key)

    def popitem(self) -> tuple[str, Any]:
        """Remove the key that was set last, and return it with its value.

        Raises:
            KeyError: There is none.
        """
        for key in reversed(self):
            return key, self.pop(key)
        raise KeyError("popitem(): there is no data")

    def clear(self) -> None:
        """Remove every key that this session has."""
        for key in list(self):
            del self[key]

    def copy(self) -> dict[str, Any]:
        """A plain dict with the same values."""
        return dict(self)

    def __ne__(self, other: object) -> bool:
        return not self == other  # dict's own would compare what lies in memory

    def __or__(self, other: Mapping[str, Any]) -> dict[str, Any]:  # type: ignore[override]
        return self.copy() | dict(other)

    def __ror__(self, other: Mapping[str, Any]) -> dict[str, Any]:  # type: ignore[override]
        return dict(other) | self.copy()

    def __ior__(self, other: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> "TrackedDict":  # type: ignore[override]
        self.update(other)
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} cannot be pickled or deep-copied; dict(...) of it can")

    __hash__ = None

    def changes(self) -> Changes:
        """What was done since loading or `settle`.

        Raises:
            EncodeError: A value has become something that JSON cannot hold.
        """
        changed: dict[str, Any] = {}
        kept: dict[str, Any] = {}
        removed: list[str] = []
        images: dict[str, object] = {}
        for key, before in list(self._before.items()):  # another thread may be using the session
            now = images[key] = self._image(key)
            if type(now) is type(before) and (now == before or (type(now) is bytes and _is_equal(now, before))):
                if type(now) is bytes:
                    kept.update(_unpack(now))
            elif now is _ABSENT:
                removed.append(key)
            elif type(now) is bytes:
                changed.update(_unpack(now))
            else:
                changed[key] = now
        return Changes(changed, kept, removed, images)

    def settle(self, changes: Changes) -> None:
        """Take these changes for stored.

        What another task has done since they were asked for is a change again, and containers that were handed out
        stay watched.
        """
        touched, self._before = self._before, {}
        for key, before in list(touched.items()):
            stored = changes.images.get(key, before)
            if type(stored) not in _UNCHANGING or dict.get(self, key, _ABSENT) is not stored:
                self._before[key] = stored

    def _remember(self, key: str) -> None:
        if key not in self._before:
            self._before[key] = self._image(key)

    def _image(self, key: str) -> object:
        """What tells a key's value from another one: a scalar itself, the bytes of anything else."""
        value = dict.get(self, key, _ABSENT)
        if type(value) in _UNCHANGING:
            return value
        return to_plain(value) if isinstance(value, int | str) else _encode(key, value)


def _is_equal(image: bytes, other: Any) -> bool:
    """Whether two images are of the same JSON: the order of an object's keys is not part of it."""
    return len(image) == len(other) and _pack_sorted(_unpack(image)) == _pack_sorted(_unpack(other))


def _encode(key: str, value: Any) -> bytes:
    """The bytes of a key and its value.

    Raises:
        EncodeError: The key is no text, or JSON cannot hold the value; the message names the place in it.
    """
    if not isinstance(key, str):
        raise EncodeError(f"a session's keys are text, and this one is {type(key).__name__}")
    data = {key: value}
    try:
        encoded = _pack(data)
        if type(value) in _SCALARS or is_plain(data, encoded):
            return encoded
    except (TypeError, ValueError, OverflowError, RecursionError):
        pass  # `to_plain` finds the place and raises, or finds a plain type to store
    return _pack(to_plain(data, "session"))
