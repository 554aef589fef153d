"""Files of JSON Lines: reading sessions, and continuing a file that was cut off. `records/jsonl.py` has the format."""

import os
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import IO

from sled_sessions.errors import DecodeError
from sled_sessions.operate.errors import OperationError
from sled_sessions.records import jsonl

_STARTS = (b'{"id":"', b'{"key":"')
"""How a line begins that `jsonl` writes."""


def read_lines(lines: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """The key and the value of each line; OperationError names a line that is not a session. Empty ones are skipped."""
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                session = jsonl.from_line(line)
            except DecodeError as error:
                raise OperationError(f"line {number:,}: {error}") from None
            yield session


def checked_lines(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The same lines, once the first one has been checked: a wrong file is refused before a database is created."""
    lines = iter(lines)
    head = list(islice(lines, 1))
    list(read_lines(head))
    return chain(head, lines)


def written_sessions(file: IO[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """The sessions in a file that is to be continued; once they are read, the file ends where a line may be added.

    A last line that an interruption cut off is removed. Anything else that is not a session is an error, and stays.
    """
    last = b""

    def lines() -> Iterator[bytes]:
        nonlocal last
        for last in file:  # noqa: UP028 - `yield from` would not note the last one
            yield last

    yield from read_lines(whole_lines(lines()))
    if _is_cut_off(last):
        file.seek(-len(last), os.SEEK_END)
        file.truncate()
    elif last and not last.endswith(b"\n"):
        file.write(b"\n")


def whole_lines(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The same lines without a last one that an interruption cut off."""
    return (line for line in lines if not _is_cut_off(line))


def _is_cut_off(line: bytes) -> bool:
    """Whether this is the beginning of a session's line."""
    if line.endswith(b"\n") or not any(line[: len(start)] == start[: len(line)] for start in _STARTS):
        return False
    try:
        jsonl.from_line(line)
    except DecodeError:
        return True
    return False
