"""A request that reads and sets all of a session of 60 KB, beside decoding and encoding the same bytes.

None of the shapes may cost many times as much as its bytes: the data is often a visitor's choice, and a blocking store
runs on the event loop.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import msgspec

from benchmarks.result import Line
from benchmarks.shapes import SHAPES, Shape
from sled_sessions import SledStore
from sled_sessions.comparison.measuring import Side, take_turns
from sled_sessions.session import Outcome, SessionManager


@contextmanager
def sides(shape: Shape) -> Iterator[dict[str, Side]]:
    """The request and its floor, on a temporary database."""
    variants = [shape(0), shape(1)]
    encoded = [msgspec.msgpack.encode(data) for data in variants]
    with tempfile.TemporaryDirectory(prefix="sled_sessions-") as folder, SledStore.open(Path(folder) / "db") as store:
        manager = SessionManager(store)
        with manager.session() as session:
            session.update(variants[0])
        id, versions = session.id, count(1)

        def request(version: int) -> None:
            new = variants[version % 2]
            session = manager.open(id)
            for key in session:
                session[key]
                session[key] = new[key]
            if manager.commit(session) is not Outcome.SAVED:
                raise AssertionError("the request has changed nothing")

        def floor(turn: int) -> None:
            msgspec.msgpack.encode(msgspec.msgpack.decode(encoded[turn % 2]))

        yield {"ours": Side(request, lambda turn: next(versions)), "floor": Side(floor)}


def lines(repeat: int) -> Iterator[Line]:
    """A line for each shape."""
    for name, shape in SHAPES.items():
        with sides(shape) as both:
            times = take_turns(both, repeat)
        yield Line.compare(f"60 KB, {name}", 0, times["ours"], times["floor"], "decode, encode")
