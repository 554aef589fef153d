"""Changing the files of a database and repairing their checksums, as somebody does who means harm."""

import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

FREE, META, NODE, LINK = 4, 6, 8, 10
SEGMENT_HEADER = 20
KINDS = range(1, 12)


class Message(NamedTuple):
    """A message of the log: where it begins, and where its content is."""

    kind: int
    page: int
    at: int
    start: int
    stop: int


def messages(log: bytes, segment_size: int) -> Iterator[Message]:
    """The messages of all segments."""
    for segment in range(0, len(log), segment_size):
        at, end = segment + SEGMENT_HEADER, min(segment + segment_size, len(log))
        while at + 5 < end and log[at + 4] in KINDS:
            length, place = varint(log, at + 5)
            _, place = varint(log, place)
            page, place = varint(log, place)
            if place + length > end or _crc(log, at, place, length) != struct.unpack_from("<I", log, at)[0]:
                break
            yield Message(log[at + 4], page, at, place, place + length)
            at = place + length


def change_message(log: bytearray, message: Message, content: bytes) -> None:
    """Put another content of the same length into a message."""
    assert len(content) == message.stop - message.start
    log[message.start : message.stop] = content
    struct.pack_into("<I", log, message.at, _crc(log, message.at, message.start, len(content)))


def change_snapshot(file: Path, change: Callable[[bytearray], object]) -> None:
    """Change the content of a snapshot of sled 0.34."""
    whole = file.read_bytes()
    content = bytearray(whole[:-12])
    change(content)
    file.write_bytes(content + struct.pack("<Q", len(content)) + struct.pack("<I", zlib.crc32(content)))


def change_frame(file: Path, content: bytes) -> None:
    """Write a frame of sled 1.0's metadata with this content, which sled takes for the output of zstd."""
    head = struct.pack("<Q", len(content))[:6]
    frame = head + struct.pack("<H", zlib.crc32(head) & 0xFFFF) + content
    file.write_bytes(frame + struct.pack("<I", zlib.crc32(frame) ^ 0xAF))


def varint(data: bytes, at: int) -> tuple[int, int]:
    """One of sled's integers of variable length, and where it ends."""
    first = data[at]
    if first <= 240:
        return first, at + 1
    if first <= 248:
        return 240 + 256 * (first - 241) + data[at + 1], at + 2
    if first == 249:
        return 2288 + 256 * data[at + 1] + data[at + 2], at + 3
    end = at + 1 + first - 247
    return int.from_bytes(data[at + 1 : end], "little"), end


def _crc(log: bytes, at: int, start: int, length: int) -> int:
    return zlib.crc32(log[at + 4 : start], zlib.crc32(log[start : start + length])) ^ 0xFFFFFFFF
