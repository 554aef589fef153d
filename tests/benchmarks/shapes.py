"""A request that reads and sets all of a session of 60 KB, beside decoding and encoding the same bytes.

Sessions of one size differ in how many values they hold and how these are nested; none may cost many times as much as
its bytes, or a visitor who chooses what is stored could block the server.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from benchmarks.result import Line
from sled_sessions import Expiry, SledStore
from sled_sessions.comparison.measuring import Side, take_turns
from sled_sessions.session import SessionManager

Shape: TypeAlias = Callable[[int], dict[str, Any]]
"""The data of a session of about 60 KB. The argument, a digit, changes each key's value but not its size."""

AT_MOST = 20.0
"""How many times as long as decoding and encoding the bytes a request may take."""


def _nested(levels: int, inner: object) -> object:
    for _ in range(levels):
        inner = [inner]
    return inner


SHAPES: dict[str, Shape] = {
    "one long text": lambda digit: {"x": "y" * 60_000 + str(digit)},
    "short Cyrillic texts": lambda digit: {"x": ["привет"] * 4600 + [digit]},
    "short texts": lambda digit: {"x": ["hello"] * 10_000 + [digit]},
    "integers": lambda digit: {"x": [n % 100 for n in range(60_000)] + [digit]},
    "large integers": lambda digit: {"x": [2**64 - 1] * 6600 + [digit]},
    "floats": lambda digit: {"x": [1.5] * 6600 + [digit]},
    "empty lists": lambda digit: {"x": [[] for _ in range(60_000)] + [digit]},
    "empty dicts": lambda digit: {"x": [{} for _ in range(60_000)] + [digit]},
    "lists, 5 deep": lambda digit: {"x": [_nested(5, 1) for _ in range(10_000)] + [digit]},
    "lists, 500 deep": lambda digit: {"x": [_nested(500, 1) for _ in range(119)] + [digit]},
    "one dict": lambda digit: {"x": {f"key {n}": n for n in range(5000)} | {"digit": digit}},
    "keys with a number": lambda digit: {f"key {n}": n % 10 * 10 + digit for n in range(6000)},
    "keys with a list": lambda digit: {f"key {n}": [digit] for n in range(5500)},
    "keys with a dict": lambda digit: {f"key {n}": {"n": digit} for n in range(4800)},
}


@contextmanager
def sides(shape: Shape) -> Iterator[dict[str, Side]]:
    """The request and its floor, in a temporary database."""
    variants = [shape(0), shape(1)]
    encoded = [msgspec.msgpack.encode(data) for data in variants]
    with tempfile.TemporaryDirectory(prefix="sled_sessions-") as folder, SledStore.open(Path(folder) / "db") as store:
        manager = SessionManager(store, expiry=Expiry.on_session_end())
        with manager.session() as session:
            session.update(variants[0])
        id = session.id

        def request(turn: int) -> None:
            other = variants[turn % 2]
            session = manager.open(id)
            for key in session:
                session[key]
                session[key] = other[key]
            manager.commit(session)

        def floor(turn: int) -> None:
            msgspec.msgpack.encode(msgspec.msgpack.decode(encoded[turn % 2]))

        turns = iter(range(1, 1 << 30))  # not `take_turns`' own, whose warm-up would write the stored variant again
        yield {"ours": Side(request, prepare=lambda _: next(turns)), "floor": Side(floor)}


def lines(repeat: int) -> Iterator[Line]:
    """A line for each shape."""
    for name, shape in SHAPES.items():
        with sides(shape) as both:
            times = take_turns(both, repeat)
        yield Line.compare(f"60 KB, {name}", 0, times["ours"], times["floor"], "decode, encode")
